// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kernels/isa.h"

#include <algorithm>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/quotable.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace recurve {
namespace {

std::string NamesOf(std::span<const Isa> isas) {
  return absl::StrJoin(isas, ", ",
                       [](std::string* out, Isa isa) { absl::StrAppend(out, IsaName(isa)); });
}

}  // namespace

const char* IsaName(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kNeon:
      return "neon";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAmx:
      return "amx";
  }
  return "unknown";
}

#if defined(__x86_64__)

namespace {

// Tiles are 8 KB of registers, for which the system makes room in a process that asks. Threads that
// run already, and those that start later, have the right too.
bool AskForTiles() {
  constexpr int64_t kRequest = 0x1023;  // ARCH_REQ_XCOMP_PERM, which not all headers have
  constexpr int64_t kTileData = 18;     // of the components of XCR0
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

}  // namespace

std::vector<Isa> SupportedIsas() {
  static const auto* const isas = [] {
    auto* const found = new std::vector<Isa>(IsasOf(ReadCpuWords()));
    if (found->back() == Isa::kAmx && !AskForTiles()) found->pop_back();
    return found;
  }();
  return *isas;
}

std::vector<Isa> IsasOf(const CpuWords& words) {
  constexpr uint32_t kSubsets = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
  // Of XCR0: the masks, and what the registers have beyond 256 bits and beyond the first sixteen.
  constexpr uint32_t kSaved = 0xE0;
  // AMX-BF16, AMX-TILE and AMX-INT8; of XCR0: how tiles are configured, and what they hold.
  constexpr uint32_t kTiles = 1U << 22 | 1U << 24 | 1U << 25;
  constexpr uint32_t kTilesSaved = 1U << 17 | 1U << 18;
  // AVX2 is in the baseline, without which no program of ours starts.
  std::vector<Isa> isas = {Isa::kScalar, Isa::kAvx2};
  if ((words.newer & kSubsets) == kSubsets && (words.saved & kSaved) == kSaved) {
    isas.push_back(Isa::kAvx512);
    const bool has_tiles = (words.newer_d & kTiles) == kTiles &&
                           (words.saved & kTilesSaved) == kTilesSaved && HasVnni(words);
    if (has_tiles) isas.push_back(Isa::kAmx);
  }
  return isas;
}

bool HasVnni(const CpuWords& words) { return (words.newer_c & bit_AVX512VNNI) != 0; }

#elif defined(__aarch64__)

std::vector<Isa> SupportedIsas() { return {Isa::kScalar, Isa::kNeon}; }  // which all have

#else

std::vector<Isa> SupportedIsas() { return {Isa::kScalar}; }

#endif  // __x86_64__

Isa BestIsa() { return SupportedIsas().back(); }

absl::StatusOr<Isa> ChooseIsa(std::string_view name, std::span<const Isa> supported) {
  if (name == "auto") return supported.back();
  const auto is_named = [name](Isa isa) { return name == IsaName(isa); };
  const auto* const known = std::find_if(std::begin(kIsas), std::end(kIsas), is_named);
  if (known == std::end(kIsas)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--isa is '", Quotable(name), "'; this version has auto, ", NamesOf(kIsas)));
  }
  if (std::find(supported.begin(), supported.end(), *known) == supported.end()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "--isa is ", IsaName(*known), ", which this machine lacks; it has ", NamesOf(supported)));
  }
  return *known;
}

}  // namespace recurve
