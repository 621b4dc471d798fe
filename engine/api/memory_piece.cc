// SPDX-License-Identifier: Apache-2.0
#include "engine/api/memory_piece.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace recurve {
namespace {

struct Sum {
  uint32_t pieces = 0;
  uint64_t bytes = 0;
};

// The name with `*` for each number.
std::string Pattern(std::string_view name) {
  std::string pattern;
  bool in_number = false;
  for (const char c : name) {
    const bool digit = absl::ascii_isdigit(static_cast<unsigned char>(c));
    if (!digit) pattern += c;
    if (digit && !in_number) pattern += '*';
    in_number = digit;
  }
  return pattern;
}

}  // namespace

std::vector<MemoryPiece> SummarizeMemory(const std::vector<MemoryPiece>& pieces) {
  std::map<std::string, Sum> sums;  // by pattern
  uint64_t all = 0;
  for (const MemoryPiece& piece : pieces) {
    Sum& sum = sums[Pattern(piece.name)];
    ++sum.pieces;
    sum.bytes += piece.bytes;
    all += piece.bytes;
  }
  std::vector<MemoryPiece> summary;
  Sum small;
  for (const auto& [pattern, sum] : sums) {
    if (sum.bytes < all / 100) {
      small.pieces += sum.pieces;
      small.bytes += sum.bytes;
    } else {
      summary.push_back(
          {sum.pieces == 1 ? pattern : absl::StrCat(pattern, " (", sum.pieces, ")"), sum.bytes});
    }
  }
  std::stable_sort(summary.begin(), summary.end(),
                   [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  if (small.pieces > 0)
    summary.push_back({absl::StrCat("smaller (", small.pieces, ")"), small.bytes});
  return summary;
}

}  // namespace recurve
