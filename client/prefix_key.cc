// SPDX-License-Identifier: Apache-2.0
#include "client/prefix_key.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/str_format.h"
#include "client/hash.h"

namespace recurve::client {

uint64_t PrefixKey(const v1::GenerateRequest& request, uint32_t tokens) {
  std::string ids;  // four bytes each, the low one first
  std::string_view prefix = ids;
  if (request.has_tokens()) {
    const auto& all = request.tokens().ids();
    const int count = static_cast<int>(std::min<int64_t>(all.size(), tokens));
    for (int i = 0; i < count; ++i) {
      for (int shift = 0; shift < 32; shift += 8) {
        ids += static_cast<char>(all[i] >> shift & 0xFF);
      }
    }
    prefix = ids;
  } else {
    prefix = std::string_view(request.text()).substr(0, size_t{tokens} * kBytesPerToken);
  }
  const uint64_t key = HashOf(prefix) + (request.has_tokens() ? 1 : 0);
  return key == 0 ? 1 : key;
}

std::string PrefixHeaderValue(uint64_t key) { return absl::StrFormat("%016x", key); }

}  // namespace recurve::client
