// SPDX-License-Identifier: Apache-2.0
#include "engine/model/rope_config.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "engine/base/shortest.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

using Json = nlohmann::json;
using Type = RopeScaling::Type;

constexpr char kConfigFile[] = "config.json: ";

// rope_type, or `type` as older versions spell it; unchanged if there is neither.
absl::Status ReadType(JsonFields& rope, Type* type) {
  const Json* first = nullptr;
  for (const char* name : {"type", "rope_type"}) {
    RETURN_IF_ERROR(rope.ReadChoice<Type>(
        name, {{"default", Type::kNone}, {"linear", Type::kLinear}, {"llama3", Type::kLlama3}},
        type));
    const Json* found = rope.Find(name);
    if (first != nullptr && found != nullptr && *found != *first) {
      return rope.Unexpected(name, absl::StrCat("the type beside it, ", DescribeJson(*first)));
    }
    if (found != nullptr) first = found;
  }
  return absl::OkStatus();
}

absl::Status ReadLlama3(JsonFields& rope, RopeScaling* scaling) {
  RETURN_IF_ERROR(rope.Require("low_freq_factor", "a number above 0"));
  RETURN_IF_ERROR(rope.ReadPositive("low_freq_factor", &scaling->low_frequency_factor));
  RETURN_IF_ERROR(rope.Require("high_freq_factor", "a number above 0"));
  RETURN_IF_ERROR(rope.ReadPositive("high_freq_factor", &scaling->high_frequency_factor));
  if (!(scaling->low_frequency_factor < scaling->high_frequency_factor)) {
    return rope.Unexpected(
        "low_freq_factor",
        absl::StrCat("less than high_freq_factor, ", Shortest(scaling->high_frequency_factor)));
  }
  return rope.RequireInteger("original_max_position_embeddings", 1, kMaxPositions,
                             &scaling->original_positions);
}

absl::Status ReadScaling(JsonFields& rope, RopeScaling* scaling) {
  RETURN_IF_ERROR(ReadType(rope, &scaling->type));
  if (scaling->type != Type::kNone) {
    RETURN_IF_ERROR(rope.Require("factor", "a number from 1"));
    RETURN_IF_ERROR(rope.ReadPositive("factor", &scaling->factor));
    if (scaling->factor < 1.0F) return rope.Unexpected("factor", "a number from 1");
  }
  if (scaling->type == Type::kLlama3) RETURN_IF_ERROR(ReadLlama3(rope, scaling));
  const Json* partial = rope.Find("partial_rotary_factor");
  if (partial != nullptr && *partial != 1) {
    return rope.Unexpected("partial_rotary_factor", "1: nothing else is supported");
  }
  return absl::OkStatus();
}

// One of the two objects.
absl::Status ReadObject(absl::string_view name, const Json& object, bool has_theta,
                        ModelConfig* config) {
  JsonFields rope(object, kConfigFile, absl::StrCat(name, "."), /*null_is_absent=*/true);
  RETURN_IF_ERROR(ReadScaling(rope, &config->rope_scaling));
  float theta = config->rope_theta;
  RETURN_IF_ERROR(rope.ReadPositive("rope_theta", &theta));
  if (has_theta && theta != config->rope_theta) {
    return rope.Unexpected(
        "rope_theta", absl::StrCat("the rope_theta beside it, ", Shortest(config->rope_theta)));
  }
  config->rope_theta = theta;
  const std::vector<std::string> unread = rope.Unread();
  return unread.empty() ? absl::OkStatus()
                        : rope.Unexpected(unread.front(), "no field of this name for this type");
}

}  // namespace

absl::Status ReadRope(JsonFields& fields, ModelConfig* config) {
  RETURN_IF_ERROR(fields.ReadPositive("rope_theta", &config->rope_theta));
  bool has_theta = fields.Find("rope_theta") != nullptr;
  const Json* first = nullptr;
  RopeScaling scaling;
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const Json* object = fields.Find(name);
    if (object == nullptr) continue;
    if (!object->is_object()) return fields.Unexpected(name, "an object");
    config->rope_scaling = RopeScaling();
    RETURN_IF_ERROR(ReadObject(name, *object, has_theta, config));
    if (first != nullptr && config->rope_scaling != scaling) {
      return fields.Unexpected(name,
                               absl::StrCat("the rope_scaling beside it, ", DescribeJson(*first)));
    }
    has_theta |= object->contains("rope_theta") && !(*object)["rope_theta"].is_null();
    first = object;
    scaling = config->rope_scaling;
  }
  return absl::OkStatus();
}

}  // namespace recurve
