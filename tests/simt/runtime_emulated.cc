// SPDX-License-Identifier: Apache-2.0
#include "tests/simt/runtime_emulated.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

using Call = EmulatedRuntime::Call;

constexpr std::array<const char*, EmulatedRuntime::kCalls> kCallNames = {
    "FreeBytes", "Allocate", "AllocateMapped", "Clear",    "Upload", "Download", "Copy",
    "Launch",    "Multiply", "BeginGraph",     "EndGraph", "Replay", "Mark",     "Reached",
};

size_t Index(Call call) { return static_cast<size_t>(call); }

const char* NameOf(Call call) { return kCallNames[Index(call)]; }

bool IsForGraphs(Call call) {
  return call == Call::kLaunch || call == Call::kMultiply || call == Call::kCopy ||
         call == Call::kClear || call == Call::kEndGraph;
}

MemoryAccount& AccountOf(const DeviceMemory& memory) {
  return *static_cast<MemoryAccount*>(memory.tracker);
}

// In the plainest order. Rows that have no value stay without one: which there are, a step alone
// knows.
void MakeProduct(const PlainProduct& product) {
  const auto* const weights = reinterpret_cast<const uint16_t*>(product.weights.data);
  const auto* const x = reinterpret_cast<const uint16_t*>(product.x.data);
  auto* const y = reinterpret_cast<float*>(product.y.data);
  const auto value = [](uint16_t bf16) { return std::bit_cast<float>(uint32_t{bf16} << 16); };
  for (size_t row = 0; row < product.rows; ++row) {
    const uint16_t* const inputs = x + row * product.inputs;
    const size_t bytes = product.inputs * sizeof(uint16_t);
    if (AccountOf(product.x).CountWritten(inputs, bytes) < bytes) continue;
    float* const outputs = y + row * product.outputs;
    for (size_t output = 0; output < product.outputs; ++output) {
      float sum = 0.0F;
      for (size_t k = 0; k < product.inputs; ++k) {
        sum += value(weights[output * product.inputs + k]) * value(inputs[k]);
      }
      outputs[output] = sum;
    }
    AccountOf(product.y).SetWritten(outputs, product.outputs * sizeof(float));
  }
}

}  // namespace

EmulatedRuntime::EmulatedRuntime(EmulatedOptions options)
    : options_(std::move(options)),
      emulator_(options_.seed, &reports_),
      execution_(options_.execution) {}

// ---- Memory ----

absl::StatusOr<uint64_t> EmulatedRuntime::FreeBytes() {
  const MutexLock lock(mutex_);
  RETURN_IF_ERROR(Begin(Call::kFreeBytes));
  return options_.facts.bytes - allocated_;
}

absl::StatusOr<DeviceMemory> EmulatedRuntime::DoAllocate(std::string_view name, size_t bytes) {
  const MutexLock lock(mutex_);
  RETURN_IF_ERROR(Begin(Call::kAllocate));
  const uint64_t free = options_.facts.bytes - allocated_;
  if (bytes > free) return NoMemory(name, bytes, free);
  allocated_ += bytes;
  accounts_.push_back(std::make_unique<MemoryAccount>(std::string(name), bytes, &reports_));
  return accounts_.back()->memory();
}

absl::StatusOr<MappedMemory> EmulatedRuntime::DoAllocateMapped(std::string_view name,
                                                               size_t bytes) {
  const MutexLock lock(mutex_);
  RETURN_IF_ERROR(Begin(Call::kAllocateMapped));
  accounts_.push_back(std::make_unique<MemoryAccount>(std::string(name), bytes, &reports_));
  const DeviceMemory memory = accounts_.back()->memory();
  // What the host writes there nobody sees.
  accounts_.back()->SetWritten(memory.data, bytes);
  return MappedMemory{memory.data, memory};
}

absl::Status EmulatedRuntime::Clear(const DeviceMemory& memory) {
  const MutexLock lock(mutex_);
  RETURN_IF_ERROR(Begin(Call::kClear));
  RETURN_IF_ERROR(CheckRange(Call::kClear, memory, 0, memory.bytes));
  return Enqueue({.kind = Work::Kind::kClear, .target = memory, .bytes = memory.bytes});
}

absl::Status EmulatedRuntime::Upload(const DeviceMemory& memory, size_t offset, const void* source,
                                     size_t bytes) {
  const MutexLock lock(mutex_);
  RETURN_IF_ERROR(Begin(Call::kUpload));
  RETURN_IF_ERROR(CheckRange(Call::kUpload, memory, offset, bytes));
  RETURN_IF_ERROR(Wait(Call::kUpload));
  if (bytes > 0) std::memcpy(memory.data + offset, source, bytes);
  AccountOf(memory).SetWritten(memory.data + offset, bytes);
  return absl::OkStatus();
}

absl::Status EmulatedRuntime::Download(void* target, const DeviceMemory& memory, size_t offset,
                                       size_t bytes) {
  const MutexLock lock(mutex_);
  RETURN_IF_ERROR(Begin(Call::kDownload));
  RETURN_IF_ERROR(CheckRange(Call::kDownload, memory, offset, bytes));
  RETURN_IF_ERROR(Wait(Call::kDownload));
  const MemoryAccount& account = AccountOf(memory);
  const size_t written = account.CountWritten(memory.data + offset, bytes);
  if (written < bytes) {
    reports_.Add(absl::StrCat("host: Download of '", account.name(), "' reads byte ",
                              account.OffsetOf(memory.data) + offset + written,
                              " of the memory, which nothing has written"));
    return Fail(absl::InternalError(reports_.all().front()));
  }
  if (bytes > 0) std::memcpy(target, memory.data + offset, bytes);
  return absl::OkStatus();
}

absl::Status EmulatedRuntime::Copy(const DeviceMemory& target, const MappedMemory& source,
                                   size_t source_offset, size_t bytes) {
  const MutexLock lock(mutex_);
  RETURN_IF_ERROR(Begin(Call::kCopy));
  RETURN_IF_ERROR(CheckRange(Call::kCopy, target, 0, bytes));
  RETURN_IF_ERROR(CheckRange(Call::kCopy, source.device, source_offset, bytes));
  return Enqueue({.kind = Work::Kind::kCopy,
                  .target = target,
                  .source = source.host + source_offset,
                  .bytes = bytes});
}

absl::Status EmulatedRuntime::LoadProducts() {
  const MutexLock lock(mutex_);
  if (!options_.has_products) {
    return absl::FailedPreconditionError("the emulated device has no library of products");
  }
  products_loaded_ = true;
  return absl::OkStatus();
}

// ---- The stream ----

absl::Status EmulatedRuntime::DoMultiply(const PlainProduct& product) {
  const MutexLock lock(mutex_);
  RETURN_IF_ERROR(Begin(Call::kMultiply));
  if (!products_loaded_) return Fail(absl::InternalError("Multiply before LoadProducts"));
  const uint64_t rows = product.rows;
  const uint64_t outputs = product.outputs;
  RETURN_IF_ERROR(
      CheckRange(Call::kMultiply, product.weights, 0, outputs * product.inputs * sizeof(uint16_t)));
  RETURN_IF_ERROR(
      CheckRange(Call::kMultiply, product.x, 0, rows * product.inputs * sizeof(uint16_t)));
  RETURN_IF_ERROR(CheckRange(Call::kMultiply, product.y, 0, rows * outputs * sizeof(float)));
  return Enqueue({.kind = Work::Kind::kMultiply, .product = product});
}

absl::Status EmulatedRuntime::DoLaunch(const Kernel& kernel, const LaunchShape& shape,
                                       const void* args) {
  const MutexLock lock(mutex_);
  RETURN_IF_ERROR(Begin(Call::kLaunch));
  Work work = {.kind = Work::Kind::kLaunch, .kernel = kernel, .shape = shape};
  work.shape.programmatic = shape.programmatic && options_.programmatic;
  const auto* const bytes = static_cast<const std::byte*>(args);
  work.args.assign(bytes, bytes + kernel.args_bytes);
  return Enqueue(std::move(work));
}

absl::Status EmulatedRuntime::BeginGraph(std::string_view name) {
  const MutexLock lock(mutex_);
  RETURN_IF_ERROR(Begin(Call::kBeginGraph));
  recording_.emplace(Recording{std::string(name), {}});
  return absl::OkStatus();
}

absl::StatusOr<Runtime::Graph> EmulatedRuntime::EndGraph() {
  const MutexLock lock(mutex_);
  RETURN_IF_ERROR(Begin(Call::kEndGraph));
  if (!recording_.has_value()) {
    return Fail(absl::InternalError("EndGraph without BeginGraph"));
  }
  graphs_.push_back(std::move(recording_->works));
  recording_.reset();
  return static_cast<Graph>(graphs_.size() - 1);
}

absl::Status EmulatedRuntime::Replay(Graph graph) {
  const MutexLock lock(mutex_);
  RETURN_IF_ERROR(Begin(Call::kReplay));
  if (graph >= graphs_.size()) {
    return Fail(absl::InternalError(
        absl::StrCat("Replay of graph ", graph, ": there are ", graphs_.size())));
  }
  return Enqueue({.kind = Work::Kind::kReplay, .number = graph});
}

absl::Status EmulatedRuntime::Mark(uint32_t mark) {
  const MutexLock lock(mutex_);
  RETURN_IF_ERROR(Begin(Call::kMark));
  ++marks_[mark];
  polls_[mark] = 0;
  return Enqueue({.kind = Work::Kind::kMark, .number = mark});
}

absl::StatusOr<bool> EmulatedRuntime::Reached(uint32_t mark) {
  const MutexLock lock(mutex_);
  RETURN_IF_ERROR(Begin(Call::kReached));
  if (marks_[mark] == 0) return true;
  if (execution_ == Execution::kNever) return false;
  if (execution_ == Execution::kWhenWaitedFor && polls_[mark] < options_.late_polls) {
    ++polls_[mark];
    return false;
  }
  RETURN_IF_ERROR(RunStream(mark));
  return true;
}

absl::Status EmulatedRuntime::Enqueue(Work work) {
  if (recording_.has_value()) {
    recording_->works.push_back(std::move(work));
    return absl::OkStatus();
  }
  stream_.push_back(std::move(work));
  return execution_ == Execution::kAtOnce ? RunStream() : absl::OkStatus();
}

absl::Status EmulatedRuntime::RunStream(std::optional<uint32_t> mark) {
  while (!stream_.empty() && !(mark.has_value() && marks_[*mark] == 0)) {
    const Work work = std::move(stream_.front());
    stream_.pop_front();
    Run(work);
    if (!reports_.empty()) return Fail(absl::InternalError(reports_.all().front()));
  }
  return absl::OkStatus();
}

void EmulatedRuntime::Run(const Work& work) {
  switch (work.kind) {
    case Work::Kind::kLaunch:
      kernels_[work.kernel.name] += emulator_.Run(work.kernel, work.shape, work.args.data());
      return;
    case Work::Kind::kMultiply:
      MakeProduct(work.product);
      return;
    case Work::Kind::kCopy:
      if (work.bytes > 0) std::memcpy(work.target.data, work.source, work.bytes);
      AccountOf(work.target).SetWritten(work.target.data, work.bytes);
      return;
    case Work::Kind::kClear:
      if (work.bytes > 0) std::memset(work.target.data, 0, work.bytes);
      AccountOf(work.target).SetWritten(work.target.data, work.bytes);
      return;
    case Work::Kind::kReplay:
      for (const Work& recorded : graphs_[work.number]) {
        if (reports_.empty()) Run(recorded);
      }
      return;
    case Work::Kind::kMark:
      --marks_[work.number];
      return;
  }
}

absl::Status EmulatedRuntime::Wait(Call call) {
  if (execution_ == Execution::kNever && !stream_.empty()) {
    return Fail(absl::InternalError(absl::StrCat(NameOf(call), ": the device hangs")));
  }
  RETURN_IF_ERROR(RunStream());
  for (const auto& account : accounts_) account->written_by_kernel = false;
  return absl::OkStatus();
}

// ---- Errors ----

absl::Status EmulatedRuntime::Begin(Call call) {
  const uint64_t count = ++calls_[Index(call)];
  if (!error_.ok()) return error_;
  if (!reports_.empty()) return Fail(absl::InternalError(reports_.all().front()));
  const Fault& fault = faults_[Index(call)];
  if (fault.at == count) return Fail(fault.error);
  if (recording_.has_value() && !IsForGraphs(call)) {
    return Fail(absl::InternalError(
        absl::StrCat(NameOf(call), " while graph '", recording_->name, "' is recorded")));
  }
  return absl::OkStatus();
}

absl::Status EmulatedRuntime::Fail(absl::Status error) {
  error_ = std::move(error);
  return error_;
}

absl::Status EmulatedRuntime::CheckRange(Call call, const DeviceMemory& memory, size_t offset,
                                         size_t bytes) {
  if (memory.tracker == nullptr) {
    return Fail(absl::InternalError(absl::StrCat(NameOf(call), " of memory of no runtime")));
  }
  if (offset <= memory.bytes && bytes <= memory.bytes - offset) return absl::OkStatus();
  return Fail(absl::InternalError(absl::StrCat(NameOf(call), " of ", bytes, " bytes from byte ",
                                               offset, " on is not in '", AccountOf(memory).name(),
                                               "', which has ", memory.bytes, " bytes")));
}

// ---- For tests ----

void EmulatedRuntime::SetExecution(Execution execution) {
  const MutexLock lock(mutex_);
  execution_ = execution;
}

void EmulatedRuntime::FailAt(Call call, uint64_t nth, absl::Status error) {
  const MutexLock lock(mutex_);
  faults_[Index(call)] = {calls_[Index(call)] + nth, std::move(error)};
}

uint64_t EmulatedRuntime::Calls(Call call) const {
  const MutexLock lock(mutex_);
  return calls_[Index(call)];
}

std::map<std::string, KernelCounts> EmulatedRuntime::kernels() const {
  const MutexLock lock(mutex_);
  return kernels_;
}

std::vector<std::string> EmulatedRuntime::reports() const { return reports_.all(); }

}  // namespace recurve
