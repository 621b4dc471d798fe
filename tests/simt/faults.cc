// SPDX-License-Identifier: Apache-2.0
#include "tests/simt/faults.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/simt/emulated_thread.h"

namespace recurve::simt::simt_internal {
namespace {

std::string NameOf(Access access, size_t i) {
  switch (access) {
    case Access::kConstant:
      return absl::StrCat("Constant[", i, "]");
    case Access::kIn:
      return absl::StrCat("In[", i, "]");
    case Access::kOut:
      return absl::StrCat("Out[", i, "]");
    case Access::kSet:
      return absl::StrCat("Out.Set(", i, ")");
    case Access::kCopy:
      return absl::StrCat("Out.Copy(..., ", i, ")");
    case Access::kEdit:
      return absl::StrCat("Out.Edit(", i, ")");
    case Access::kAdd:
      return absl::StrCat("Out.Add(", i, ")");
    case Access::kOr:
      return absl::StrCat("Out.Or(", i, ")");
  }
  return "";
}

std::string Describe(const Extent& span) {
  return absl::StrCat("the span has ", span.count, " elements of ", span.element_bytes,
                      " bytes from byte ", span.account->OffsetOf(span.data), " of the memory on");
}

// What is wrong with an access, since something is.
std::string FaultOf(Access access, size_t i, const Extent& span, bool may_touch) {
  if (span.account == nullptr) return NameOf(access, i) + " of a span without memory";
  const std::string name = absl::StrCat(NameOf(access, i), " of '", span.account->name(), "'");
  if (i >= span.count) return absl::StrCat(name, " is out of bounds: ", Describe(span));
  if (access != Access::kConstant && !may_touch) {
    return name + " before GridWait(), in a kernel that was launched programmatic";
  }
  const std::byte* const element =
      static_cast<const std::byte*>(span.data) + i * span.element_bytes;
  const size_t written = span.account->CountWritten(element, span.element_bytes);
  if (access != Access::kSet && access != Access::kCopy && written < span.element_bytes) {
    return absl::StrCat(name, " reads byte ", span.account->OffsetOf(element) + written,
                        " of the memory, which nothing has written");
  }
  return access == Access::kConstant
             ? name + " reads memory that a kernel has written since the host last waited"
             : name + " changes memory that a kernel has read as Constant";
}

std::string PartFaultOf(const char* call, size_t begin, size_t count, size_t bytes,
                        const Extent& span) {
  const std::string name = absl::StrCat(call, "(", begin, ", ", count, ")");
  if (span.account == nullptr) return name + " of a span without memory";
  const size_t left =
      begin > span.count ? 0 : (span.count - begin) * span.element_bytes;  // from `begin` on
  const bool fits = begin <= span.count && count <= left / bytes;
  return absl::StrCat(
      name, " of '", span.account->name(), "' with elements of ", bytes,
      fits ? " bytes is misaligned: " : " bytes is out of bounds: ", Describe(span));
}

}  // namespace

void StopFor(Access access, size_t i, const Extent& span) {
  EmulatedThread& thread = EmulatedThread::Running();
  thread.Report(FaultOf(access, i, span, thread.may_touch()));
  thread.Stop();
}

void StopForPart(const char* call, size_t begin, size_t count, size_t bytes, const Extent& span) {
  if (EmulatedThread::IsRunning()) {
    EmulatedThread::Running().Report(PartFaultOf(call, begin, count, bytes, span));
    EmulatedThread::Running().Stop();
  }
  if (span.account == nullptr) return;  // what it makes has no memory either: its use is reported
  span.account->reports().Add("host: " + PartFaultOf(call, begin, count, bytes, span));
}

void ReportSpan(const DeviceMemory& memory, size_t begin, size_t count, size_t bytes) {
  auto* const account = static_cast<MemoryAccount*>(memory.tracker);
  if (account == nullptr) return;  // a span without memory: its use is reported
  account->reports().Add(absl::StrCat("host: a span of ", count, " elements of ", bytes,
                                      " bytes from element ", begin, " on is not in '",
                                      account->name(), "', which has ", memory.bytes,
                                      " bytes from byte ", account->OffsetOf(memory.data), " on"));
}

void StopForArray(const char* what, size_t index, size_t count) {
  EmulatedThread& thread = EmulatedThread::Running();
  thread.Report(absl::StrCat(what, index, " is out of bounds: the array has ", count, " elements"));
  thread.Stop();
}

void StopForShared(size_t bytes) {
  EmulatedThread& thread = EmulatedThread::Running();
  thread.Report(absl::StrCat("asks for ", bytes, " bytes of shared memory; the launch gives ",
                             thread.block().shape.shared_bytes));
  thread.Stop();
}

}  // namespace recurve::simt::simt_internal
