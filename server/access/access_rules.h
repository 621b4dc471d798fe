// SPDX-License-Identifier: Apache-2.0
// What --access_file says: who may call, and how much of the server each tenant may take.
// docs/security.md has the format.
#ifndef RECURVE_SERVER_ACCESS_ACCESS_RULES_H_
#define RECURVE_SERVER_ACCESS_ACCESS_RULES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace recurve {

using Sha256 = std::array<uint8_t, 32>;

struct TokenRule {
  Sha256 secret{};  // of the token's secret
  std::string tenant;
};

// What is unset is not bounded.
struct Quota {
  std::optional<uint32_t> requests{};           // Generate and Complete calls at once
  std::optional<uint64_t> tokens_per_minute{};  // prompt and new tokens
  std::optional<double> queue_share{};          // of max_queued_requests

  bool operator==(const Quota&) const = default;
};

struct AccessRules {
  std::map<std::string, TokenRule, std::less<>> tokens;  // by id; none: calls need no token
  std::map<std::string, Quota, std::less<>> quotas;      // by tenant
  std::optional<Quota> any_quota;                        // of all other tenants: "*"

  const Quota& QuotaOf(std::string_view tenant) const;
  bool HasQuotas() const { return any_quota.has_value() || !quotas.empty(); }
};

// Bounds of the file.
inline constexpr uint64_t kMaxAccessFileBytes = 4 << 20;
inline constexpr size_t kMaxTokenIdBytes = 64;
inline constexpr uint32_t kMostQuotaRequests = 1'000'000;
inline constexpr uint64_t kMostQuotaTokens = 1'000'000'000;

// InvalidArgument names the place, such as tokens[3].sha256, what stands there and what may.
absl::StatusOr<AccessRules> ParseAccessRules(std::string_view text);

}  // namespace recurve

#endif  // RECURVE_SERVER_ACCESS_ACCESS_RULES_H_
