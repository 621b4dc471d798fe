// SPDX-License-Identifier: Apache-2.0
// Whether a call's bearer token is one of the access file's.
#ifndef RECURVE_SERVER_ACCESS_TOKENS_H_
#define RECURVE_SERVER_ACCESS_TOKENS_H_

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "server/access/access_rules.h"
#include "server/observe/labels.h"

namespace recurve {

// Of bytes.
Sha256 Sha256Of(std::string_view bytes);

// What every call hears whose token is not good, whatever is wrong with it.
inline constexpr char kBadTokenMessage[] =
    "this server asks for a token: metadata `authorization: Bearer ID.SECRET`";

// The tenant of the token in `authorization`, the value of that metadata (none: not sent), or why
// it is not good. One hash and one comparison, which takes equally long for whatever bytes, is all
// that a call costs, also for an id that is unknown; of what is longer than any token only the
// length is looked at.
std::variant<std::string, Unauthenticated> JudgeToken(
    const AccessRules& rules, const std::optional<std::string_view>& authorization);

}  // namespace recurve

#endif  // RECURVE_SERVER_ACCESS_TOKENS_H_
