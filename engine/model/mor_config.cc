// SPDX-License-Identifier: Apache-2.0
#include "engine/model/mor_config.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/model/json_fields.h"

namespace recurve {
namespace {

using Json = nlohmann::json;

constexpr char kConfigFile[] = "config.json: ";

// The error for a field of `fields` that nobody has asked for, if there is one.
absl::Status CheckAllRead(const JsonFields& fields) {
  const std::vector<std::string> unread = fields.Unread();
  return unread.empty() ? absl::OkStatus()
                        : fields.Unexpected(unread.front(), "no field of this name");
}

// A field that has a meaning for another kind of router alone.
absl::Status CheckAbsent(JsonFields& fields, absl::string_view name, absl::string_view with) {
  return fields.Find(name) == nullptr ? absl::OkStatus()
                                      : fields.Undefined(name, absl::StrCat("with ", with));
}

// How the layers divide into recursions.
absl::Status ReadLayers(JsonFields& fields, ModelConfig* config) {
  RETURN_IF_ERROR(fields.RequireChoice<Sharing>("sharing",
                                                {{"cycle", Sharing::kCycle},
                                                 {"middle_cycle", Sharing::kMiddleCycle},
                                                 {"sequence", Sharing::kSequence},
                                                 {"middle_sequence", Sharing::kMiddleSequence}},
                                                &config->sharing));
  RETURN_IF_ERROR(
      fields.RequireInteger("num_recursions", 1, config->num_layers, &config->num_recursions));
  const uint32_t ends = config->has_ends() ? 2 : 0;
  if (config->num_layers <= ends || (config->num_layers - ends) % config->num_recursions != 0) {
    return fields.Unexpected(
        "num_recursions",
        absl::StrCat("a divisor of the shared layers: num_hidden_layers is ", config->num_layers,
                     ends == 0 ? "" : ", less the first and the last one"));
  }
  return absl::OkStatus();
}

absl::Status ReadKeysAndValues(JsonFields& fields, ModelConfig* config) {
  RETURN_IF_ERROR(fields.ReadChoice<KvMode>("kv_mode",
                                            {{"recursion_wise", KvMode::kRecursionWise},
                                             {"shared", KvMode::kShared},
                                             {"shared_update", KvMode::kSharedUpdate}},
                                            &config->kv_mode));
  if (config->repeats_in_place() && config->kv_mode != KvMode::kRecursionWise) {
    return fields.Undefined("kv_mode", "with sharing \"sequence\" and \"middle_sequence\"");
  }
  if (config->recursions() > kMaxRecursions) {
    return fields.Unexpected("num_recursions", absl::StrCat("at most ", kMaxRecursions));
  }
  RETURN_IF_ERROR(fields.ReadChoice<bool>("attention_weights",
                                          {{"tied", false}, {"per_recursion", true}},
                                          &config->per_recursion_attention));
  if (config->per_recursion_attention && config->router.type != RouterType::kExpertChoice) {
    return fields.Undefined("attention_weights", "without an expert_choice router");
  }
  return absl::OkStatus();
}

absl::Status ReadExpertChoice(JsonFields& fields, RouterConfig* router) {
  RETURN_IF_ERROR(fields.RequireChoice<RouterFunction>("function",
                                                       {{"sigmoid", RouterFunction::kSigmoid},
                                                        {"tanh", RouterFunction::kTanh},
                                                        {"none", RouterFunction::kNone}},
                                                       &router->function));
  RETURN_IF_ERROR(fields.RequireChoice<RouterSampling>(
      "sampling",
      {{"aux_loss", RouterSampling::kAuxLoss}, {"aux_router", RouterSampling::kAuxRouter}},
      &router->sampling));
  RETURN_IF_ERROR(fields.ReadProbability("threshold", &router->threshold));
  return CheckAbsent(fields, "balancing", "an expert_choice router");
}

absl::Status ReadTokenChoice(JsonFields& fields, RouterConfig* router) {
  RETURN_IF_ERROR(fields.RequireChoice<RouterFunction>(
      "function", {{"softmax", RouterFunction::kSoftmax}, {"sigmoid", RouterFunction::kSigmoid}},
      &router->function));
  RETURN_IF_ERROR(fields.ReadChoice<bool>("balancing", {{"none", false}, {"loss_free", true}},
                                          &router->has_bias));
  RETURN_IF_ERROR(CheckAbsent(fields, "sampling", "a token_choice router"));
  return CheckAbsent(fields, "threshold", "a token_choice router");
}

absl::Status ReadRouter(const Json& object, ModelConfig* config) {
  JsonFields fields(object, kConfigFile, "mor.router.", /*null_is_absent=*/false);
  RouterConfig& router = config->router;
  RETURN_IF_ERROR(fields.RequireChoice<RouterType>(
      "type",
      {{"expert_choice", RouterType::kExpertChoice}, {"token_choice", RouterType::kTokenChoice}},
      &router.type));
  if (config->repeats_in_place()) {
    return fields.Undefined("type", "with mor.sharing \"sequence\" and \"middle_sequence\"");
  }
  if (router.type == RouterType::kTokenChoice && config->sharing != Sharing::kMiddleCycle) {
    return fields.Undefined("type", "with a mor.sharing other than \"middle_cycle\"");
  }
  RETURN_IF_ERROR(fields.RequireChoice<RouterNetwork>("network",
                                                      {{"linear", RouterNetwork::kLinear},
                                                       {"mlp", RouterNetwork::kMlp},
                                                       {"wide_mlp", RouterNetwork::kMlp}},
                                                      &router.network));
  RETURN_IF_ERROR(router.type == RouterType::kExpertChoice ? ReadExpertChoice(fields, &router)
                                                           : ReadTokenChoice(fields, &router));
  if (router.function == RouterFunction::kNone) {
    RETURN_IF_ERROR(CheckAbsent(fields, "alpha", "mor.router.function \"none\""));
  } else {
    RETURN_IF_ERROR(fields.Require("alpha", "a number above 0"));
    RETURN_IF_ERROR(fields.ReadPositive("alpha", &router.alpha));
  }
  RETURN_IF_ERROR(fields.ReadPositive("temperature", &router.temperature));
  RETURN_IF_ERROR(fields.RequireChoice<bool>("gating", {{"weighted", true}, {"unweighted", false}},
                                             &router.weighted));
  return CheckAllRead(fields);
}

}  // namespace

absl::Status ReadMorConfig(const Json& mor, ModelConfig* config) {
  if (!mor.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(kConfigFile, "mor is ", DescribeJson(mor), "; expected an object"));
  }
  JsonFields fields(mor, kConfigFile, "mor.", /*null_is_absent=*/false);
  RETURN_IF_ERROR(ReadLayers(fields, config));
  if (const Json* router = fields.Find("router"); router != nullptr) {
    if (!router->is_object()) return fields.Unexpected("router", "an object");
    RETURN_IF_ERROR(ReadRouter(*router, config));
  }
  RETURN_IF_ERROR(ReadKeysAndValues(fields, config));
  return CheckAllRead(fields);
}

}  // namespace recurve
