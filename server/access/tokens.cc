// SPDX-License-Identifier: Apache-2.0
#include "server/access/tokens.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "engine/base/check.h"

namespace recurve {
namespace {

constexpr size_t kSchemeBytes = 7;  // "Bearer "
constexpr size_t kMaxTokenBytes = 1024;

}  // namespace

Sha256 Sha256Of(std::string_view bytes) {
  Sha256 hash;
  unsigned int size = 0;
  RECURVE_CHECK(EVP_Digest(bytes.data(), bytes.size(), hash.data(), &size, EVP_sha256(), nullptr) ==
                1);
  return hash;
}

std::variant<std::string, Unauthenticated> JudgeToken(
    const AccessRules& rules, const std::optional<std::string_view>& authorization) {
  if (!authorization) return Unauthenticated::kMissing;
  const absl::string_view text(authorization->data(), authorization->size());
  if (text.size() > kMaxTokenBytes || !absl::StartsWithIgnoreCase(text, "bearer ")) {
    return Unauthenticated::kMalformed;
  }
  const std::string_view token = authorization->substr(kSchemeBytes);
  const size_t dot = token.find('.');
  if (dot == 0 || dot == token.npos || dot + 1 == token.size()) return Unauthenticated::kMalformed;
  const Sha256 hash = Sha256Of(token.substr(dot + 1));
  // Nobody knows what hashes to zeros, and nobody would get in who did.
  static constexpr Sha256 kNobody{};
  const auto found = rules.tokens.find(token.substr(0, dot));
  const bool known = found != rules.tokens.end();
  const Sha256& expected = known ? found->second.secret : kNobody;
  const bool same = CRYPTO_memcmp(hash.data(), expected.data(), hash.size()) == 0;
  if (!known) return Unauthenticated::kUnknown;
  if (!same) return Unauthenticated::kWrong;
  return found->second.tenant;
}

}  // namespace recurve
