// SPDX-License-Identifier: Apache-2.0
// Typed reading of the members of a JSON object, with errors that name the field, what was found
// and what was expected. For the .cc files of this folder: it includes nlohmann's header.
#ifndef RECURVE_ENGINE_MODEL_JSON_FIELDS_H_
#define RECURVE_ENGINE_MODEL_JSON_FIELDS_H_

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace recurve {

// Parses one JSON object. InvalidArgument, beginning with `what`, for anything else, for a name
// given twice in one object and for more than 32 levels.
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, absl::string_view what);

// A value as it is shown in messages: JSON, cut to a readable length.
std::string DescribeJson(const nlohmann::json& value);

// A choice by name.
template <typename T>
struct Choice {
  absl::string_view name;
  T value;
};

// Reads members of one object and remembers which. Each method leaves `out` alone if the member is
// absent; Require turns absence into an error. Keeps a reference to the object.
class JsonFields {
 public:
  // `where` begins messages, as "config.json: "; `prefix` begins field names, as "mor.".
  // `null_is_absent`: a null member counts as absent, as Hugging Face writes defaults.
  JsonFields(const nlohmann::json& object, std::string where, std::string prefix,
             bool null_is_absent)
      : object_(object),
        where_(std::move(where)),
        prefix_(std::move(prefix)),
        null_is_absent_(null_is_absent) {}

  // The member, or null if it is absent; it counts as read either way.
  const nlohmann::json* Find(absl::string_view name);

  absl::Status Require(absl::string_view name, absl::string_view expected);
  absl::Status ReadInteger(absl::string_view name, uint32_t least, uint32_t most, uint32_t* out);
  absl::Status ReadBool(absl::string_view name, bool* out);
  absl::Status ReadPositive(absl::string_view name, float* out);     // finite and > 0 as a float
  absl::Status ReadProbability(absl::string_view name, float* out);  // in [0, 1]

  // As ReadInteger, for a member that must be there.
  absl::Status RequireInteger(absl::string_view name, uint32_t least, uint32_t most, uint32_t* out);

  template <typename T>
  absl::Status ReadChoice(absl::string_view name, std::initializer_list<Choice<T>> choices,
                          T* out) {
    std::vector<absl::string_view> names;
    for (const Choice<T>& choice : choices) names.push_back(choice.name);
    const nlohmann::json* value = Find(name);
    if (value == nullptr) return absl::OkStatus();
    for (const Choice<T>& choice : choices) {
      if (*value == std::string(choice.name)) {
        *out = choice.value;
        return absl::OkStatus();
      }
    }
    return Unexpected(name, OneOf(names));
  }

  template <typename T>
  absl::Status RequireChoice(absl::string_view name, std::initializer_list<Choice<T>> choices,
                             T* out) {
    std::vector<absl::string_view> names;
    for (const Choice<T>& choice : choices) names.push_back(choice.name);
    if (absl::Status status = Require(name, OneOf(names)); !status.ok()) return status;
    return ReadChoice(name, choices, out);
  }

  // "WHEREPREFIXname is VALUE; expected EXPECTED".
  absl::Status Unexpected(absl::string_view name, absl::string_view expected) const;

  // "WHEREPREFIXname is VALUE, which is not defined BECAUSE".
  absl::Status Undefined(absl::string_view name, absl::string_view because) const;

  // Names that no method has asked for, in the object's order.
  std::vector<std::string> Unread() const;

 private:
  static std::string OneOf(const std::vector<absl::string_view>& names);
  std::string Name(absl::string_view name) const;
  std::string Value(absl::string_view name) const;

  const nlohmann::json& object_;
  const std::string where_;
  const std::string prefix_;
  const bool null_is_absent_;
  std::set<std::string, std::less<>> read_;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_MODEL_JSON_FIELDS_H_
