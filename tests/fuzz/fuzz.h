// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share: how an input is cut into parts, and what every error must be.
#ifndef RECURVE_TESTS_FUZZ_FUZZ_H_
#define RECURVE_TESTS_FUZZ_FUZZ_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "engine/base/check.h"

namespace recurve {

inline std::string_view AsText(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// The parts of an input before and behind its first line "---"; without one, all of it and "".
inline std::pair<std::string_view, std::string_view> SplitParts(std::string_view input) {
  constexpr std::string_view kSeparator = "\n---\n";
  const size_t at = input.find(kSeparator);
  if (at == input.npos) return {input, {}};
  return {input.substr(0, at), input.substr(at + kSeparator.size())};
}

// A file or request that is refused: InvalidArgument, in one line that is fit for a log or
// terminal.
inline void CheckRefusal(const absl::Status& status) {
  RECURVE_CHECK(absl::IsInvalidArgument(status));
  RECURVE_CHECK(!status.message().empty());
  for (const char c : status.message()) {
    const auto byte = static_cast<uint8_t>(c);
    RECURVE_CHECK(byte >= 0x20 && byte != 0x7F);
  }
}

}  // namespace recurve

#endif  // RECURVE_TESTS_FUZZ_FUZZ_H_
