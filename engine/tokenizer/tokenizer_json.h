// SPDX-License-Identifier: Apache-2.0
// The parts of a tokenizer.json: how they are found, read, and refused. For the files of this
// folder that read one.
#ifndef RECURVE_ENGINE_TOKENIZER_TOKENIZER_JSON_H_
#define RECURVE_ENGINE_TOKENIZER_TOKENIZER_JSON_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/token_id.h"

namespace recurve::tokenizer_json {

using Json = nlohmann::json;

// `value` for a message: one line of ASCII, cut off where it gets long.
std::string Print(const Json& value);

// "tokenizer.json: FIELD is FOUND, expected EXPECTED", INVALID_ARGUMENT; `found` may be null: it is
// missing. The strings are std::string: where Abseil is built for C++14 (Debian 12), its StrCat
// does not take std::string_view.
absl::Status Unexpected(const std::string& field, const std::string& found,
                        const std::string& expected);
absl::Status Unexpected(const std::string& field, const Json* found, const std::string& expected);

// The member `name` of `object`; null when it is missing or `object` is no object.
const Json* Find(const Json& object, const char* name);

inline bool Absent(const Json* value) { return value == nullptr || value->is_null(); }

// The string member "type" of a component; empty when there is none.
std::string_view Type(const Json& component);

// What a Sequence of one holds, which does the same as the Sequence; else `component` itself.
const Json& Unwrap(const Json& component, const char* list_name);
const Json& Unwrap(Json&& component, const char* list_name) = delete;  // it would soon be gone

// Members of `object`, which errors call `path`. INVALID_ARGUMENT for another type, and if it is
// missing without a value for that.
absl::StatusOr<bool> ReadBool(const Json& object, const char* name, const std::string& path,
                              std::optional<bool> absent = std::nullopt);
absl::StatusOr<std::string> ReadString(const Json& object, const char* name,
                                       const std::string& path);

// A number from 0 to kMaxTokenId.
absl::StatusOr<TokenId> ReadId(const Json& value, const std::string& path);

}  // namespace recurve::tokenizer_json

#endif  // RECURVE_ENGINE_TOKENIZER_TOKENIZER_JSON_H_
