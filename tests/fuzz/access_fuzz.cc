// SPDX-License-Identifier: Apache-2.0
// The access file: what is accepted keeps every bound, and gives in exactly those whose secret it
// has.
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "engine/api/request.h"
#include "server/access/access_rules.h"
#include "server/access/names.h"
#include "server/access/tokens.h"
#include "tests/fuzz/fuzz.h"

namespace recurve {
namespace {

void CheckQuota(const Quota& quota) {
  RECURVE_CHECK(quota.requests.value_or(0) <= kMostQuotaRequests);
  RECURVE_CHECK(quota.tokens_per_minute.value_or(1) >= 1);
  RECURVE_CHECK(quota.tokens_per_minute.value_or(1) <= kMostQuotaTokens);
  const double share = quota.queue_share.value_or(1);
  RECURVE_CHECK(share > 0 && share <= 1);
}

// `behind`: what somebody sends.
void CheckRules(const AccessRules& rules, std::string_view behind) {
  RECURVE_CHECK(!rules.tokens.empty() || rules.HasQuotas());
  for (const auto& [id, rule] : rules.tokens) {
    RECURVE_CHECK(!id.empty() && id.size() <= kMaxTokenIdBytes && id.find('.') == id.npos);
    RECURVE_CHECK(IsValidName(rule.tenant, kMaxTenantBytes));
    const std::string sent = absl::StrCat("Bearer ", id, ".", std::string(behind));
    const auto judged = JudgeToken(rules, sent);
    const bool lets_in = std::holds_alternative<std::string>(judged);
    const bool may = !behind.empty() && sent.size() <= 1024 && Sha256Of(behind) == rule.secret;
    RECURVE_CHECK(lets_in == may);
  }
  for (const auto& [tenant, quota] : rules.quotas) {
    RECURVE_CHECK(IsValidName(tenant, kMaxTenantBytes));
    RECURVE_CHECK(rules.QuotaOf(tenant) == quota);
    CheckQuota(quota);
  }
  if (rules.any_quota) CheckQuota(*rules.any_quota);
}

}  // namespace
}  // namespace recurve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto [text, behind] = recurve::SplitParts(recurve::AsText(data, size));
  const auto rules = recurve::ParseAccessRules(text);
  if (rules.ok()) {
    recurve::CheckRules(*rules, behind);
    recurve::JudgeToken(*rules, behind);
  } else {
    recurve::CheckRefusal(rules.status());
  }
  return 0;
}
