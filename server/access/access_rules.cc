// SPDX-License-Identifier: Apache-2.0
#include "server/access/access_rules.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/api/request.h"
#include "engine/base/parse_json.h"
#include "engine/base/quotable.h"
#include "engine/base/status_macros.h"
#include "server/access/names.h"

namespace recurve {
namespace {

using Json = nlohmann::json;

absl::Status Wrong(const std::string& place, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(place, " ", what));
}

// What stands at a place, fit for a message.
std::string Shown(const Json& value) {
  return Quotable(value.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace));
}

absl::StatusOr<Json> ParseObject(std::string_view text) {
  constexpr int kMostLevels = 8;
  ASSIGN_OR_RETURN(Json root, ParseJson(text, kMostLevels));
  // Without what stands where it breaks, which may be a secret.
  if (root.is_discarded()) return absl::InvalidArgumentError("it is not valid JSON");
  if (!root.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "it must be an object, {\"tokens\": [...], \"quotas\": {...}}, and is ", root.type_name()));
  }
  return root;
}

// `place` has these fields and no others.
absl::Status CheckFields(const Json& object, const std::string& place,
                         const std::set<std::string>& known) {
  for (const auto& [key, value] : object.items()) {
    if (known.contains(key)) continue;
    std::string expected;
    for (const std::string& name : known) absl::StrAppend(&expected, " ", name);
    return Wrong(absl::StrCat(place, Quotable(key)),
                 absl::StrCat("is unknown; known are", expected));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> TextAt(const Json& object, const std::string& place,
                                   const char* field) {
  const std::string at = absl::StrCat(place, ".", field);
  const auto found = object.find(field);
  if (found == object.end()) return Wrong(at, "is missing");
  if (!found->is_string()) return Wrong(at, absl::StrCat("is ", Shown(*found), ", not a text"));
  return found->get<std::string>();
}

absl::Status CheckTokenId(const std::string& id, const std::string& place) {
  const bool good =
      !id.empty() && id.size() <= kMaxTokenIdBytes && std::all_of(id.begin(), id.end(), [](char c) {
        return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
      });
  if (good) return absl::OkStatus();
  return Wrong(place, absl::StrCat("is \"", Quotable(id), "\"; it must have from 1 to ",
                                   kMaxTokenIdBytes, " letters, digits, hyphens and underscores"));
}

absl::Status CheckTenant(const std::string& tenant, const std::string& place) {
  if (IsValidName(tenant, kMaxTenantBytes)) return absl::OkStatus();
  return Wrong(place, absl::StrCat("is \"", Quotable(tenant), "\"; a tenant has from 1 to ",
                                   kMaxTenantBytes, " printable ASCII characters"));
}

// The text is not repeated: somebody may have put the secret itself there.
absl::StatusOr<Sha256> ReadSha256(const std::string& hex, const std::string& place) {
  Sha256 hash;
  const bool digits = std::all_of(hex.begin(), hex.end(), [](char c) {
    return absl::ascii_isxdigit(static_cast<unsigned char>(c));
  });
  if (hex.size() != 2 * hash.size() || !digits) {
    return Wrong(place,
                 absl::StrCat("has ", hex.size(), " characters", digits ? "" : ", not all hex",
                              "; it must be the SHA-256 of the secret, 64 hex digits"));
  }
  for (size_t i = 0; i < hash.size(); ++i) {
    std::from_chars(hex.data() + 2 * i, hex.data() + 2 * i + 2, hash[i], 16);
  }
  return hash;
}

absl::Status ReadToken(const Json& token, const std::string& place, AccessRules* rules) {
  if (!token.is_object()) return Wrong(place, absl::StrCat("is ", Shown(token), ", not an object"));
  RETURN_IF_ERROR(CheckFields(token, absl::StrCat(place, "."), {"id", "sha256", "tenant"}));
  ASSIGN_OR_RETURN(const std::string id, TextAt(token, place, "id"));
  ASSIGN_OR_RETURN(const std::string hex, TextAt(token, place, "sha256"));
  TokenRule rule;
  ASSIGN_OR_RETURN(rule.tenant, TextAt(token, place, "tenant"));
  RETURN_IF_ERROR(CheckTokenId(id, absl::StrCat(place, ".id")));
  ASSIGN_OR_RETURN(rule.secret, ReadSha256(hex, absl::StrCat(place, ".sha256")));
  RETURN_IF_ERROR(CheckTenant(rule.tenant, absl::StrCat(place, ".tenant")));
  if (!rules->tokens.emplace(id, std::move(rule)).second) {
    return Wrong(absl::StrCat(place, ".id"),
                 absl::StrCat("is \"", id, "\", as another token's is already"));
  }
  return absl::OkStatus();
}

// A whole number, if it is there.
template <typename Number>
absl::Status ReadNumber(const Json& quota, const std::string& place, const char* field,
                        uint64_t least, uint64_t most, std::optional<Number>* number) {
  const auto found = quota.find(field);
  if (found == quota.end()) return absl::OkStatus();
  if (!found->is_number_unsigned() || found->get<uint64_t>() < least ||
      found->get<uint64_t>() > most) {
    return Wrong(absl::StrCat(place, ".", field),
                 absl::StrCat("is ", Shown(*found), "; it must be a whole number from ", least,
                              " to ", most));
  }
  *number = found->get<Number>();
  return absl::OkStatus();
}

absl::Status ReadShare(const Json& quota, const std::string& place, std::optional<double>* share) {
  const auto found = quota.find("queue_share");
  if (found == quota.end()) return absl::OkStatus();
  const double value = found->is_number() ? found->get<double>() : 0.0;
  if (!(value > 0 && value <= 1)) {
    return Wrong(absl::StrCat(place, ".queue_share"),
                 absl::StrCat("is ", Shown(*found), "; it must be a number above 0 and up to 1"));
  }
  *share = value;
  return absl::OkStatus();
}

absl::StatusOr<Quota> ReadQuota(const Json& quota, const std::string& place) {
  if (!quota.is_object()) return Wrong(place, absl::StrCat("is ", Shown(quota), ", not an object"));
  RETURN_IF_ERROR(CheckFields(quota, absl::StrCat(place, "."),
                              {"queue_share", "requests", "tokens_per_minute"}));
  Quota read;
  RETURN_IF_ERROR(ReadNumber(quota, place, "requests", 0, kMostQuotaRequests, &read.requests));
  RETURN_IF_ERROR(
      ReadNumber(quota, place, "tokens_per_minute", 1, kMostQuotaTokens, &read.tokens_per_minute));
  RETURN_IF_ERROR(ReadShare(quota, place, &read.queue_share));
  return read;
}

absl::Status ReadQuotas(const Json& quotas, AccessRules* rules) {
  if (!quotas.is_object()) {
    return Wrong("quotas", absl::StrCat("is ", Shown(quotas), ", not an object by tenants"));
  }
  for (const auto& [tenant, quota] : quotas.items()) {
    const std::string place = absl::StrCat("quotas.", Quotable(tenant));
    ASSIGN_OR_RETURN(const Quota read, ReadQuota(quota, place));
    if (tenant == "*") {
      rules->any_quota = read;
    } else {
      RETURN_IF_ERROR(CheckTenant(tenant, place));
      rules->quotas[tenant] = read;
    }
  }
  return absl::OkStatus();
}

}  // namespace

const Quota& AccessRules::QuotaOf(std::string_view tenant) const {
  static const auto* const kNone = new Quota;
  const auto found = quotas.find(tenant);
  if (found != quotas.end()) return found->second;
  return any_quota ? *any_quota : *kNone;
}

absl::StatusOr<AccessRules> ParseAccessRules(std::string_view text) {
  ASSIGN_OR_RETURN(const Json root, ParseObject(text));
  RETURN_IF_ERROR(CheckFields(root, "", {"quotas", "tokens"}));
  AccessRules rules;
  if (const auto tokens = root.find("tokens"); tokens != root.end()) {
    if (!tokens->is_array()) {
      return Wrong("tokens", absl::StrCat("is ", Shown(*tokens), ", not an array"));
    }
    // An empty list would open the server to all.
    if (tokens->empty()) return Wrong("tokens", "is empty; leave it out where calls need no token");
    for (size_t i = 0; i < tokens->size(); ++i) {
      RETURN_IF_ERROR(ReadToken((*tokens)[i], absl::StrCat("tokens[", i, "]"), &rules));
    }
  }
  if (const auto quotas = root.find("quotas"); quotas != root.end()) {
    RETURN_IF_ERROR(ReadQuotas(*quotas, &rules));
  }
  if (rules.tokens.empty() && !rules.HasQuotas()) {
    return absl::InvalidArgumentError("it has neither tokens nor quotas");
  }
  return rules;
}

}  // namespace recurve
