// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/infer_request.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/api/refusal.h"
#include "engine/base/parse_json.h"
#include "engine/base/quotable.h"
#include "engine/base/status_macros.h"
#include "server/call/ids.h"

namespace recurve {
namespace {

using nlohmann::json;

constexpr uint32_t kDefaultMaxTokens = 16;  // of vLLM's SamplingParams

template <typename... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

// ---- Tensors ----

using Tensor = inference::ModelInferRequest::InferInputTensor;

absl::Status CheckTensor(const Tensor& tensor, absl::string_view datatype) {
  if (tensor.datatype() != datatype) {
    return Invalid("input ", tensor.name(), " has the datatype ", Quotable(tensor.datatype()),
                   "; it must be ", datatype);
  }
  // [1], and [1, 1] of clients that add a dimension for batches.
  const bool one = std::all_of(tensor.shape().begin(), tensor.shape().end(),
                               [](int64_t size) { return size == 1; });
  if (one && tensor.shape_size() <= 2) return absl::OkStatus();
  return Invalid("input ", tensor.name(), " must have one element, as shape [1]");
}

// The one element of a BYTES tensor. `raw`: its raw contents, where the request has those.
absl::StatusOr<std::string> Bytes(const Tensor& tensor, const std::string* raw) {
  RETURN_IF_ERROR(CheckTensor(tensor, "BYTES"));
  if (raw == nullptr) {
    if (tensor.contents().bytes_contents_size() == 1) return tensor.contents().bytes_contents(0);
    return Invalid("input ", tensor.name(), " has ", tensor.contents().bytes_contents_size(),
                   " elements in bytes_contents; it must have 1");
  }
  uint32_t size = 0;
  if (raw->size() >= sizeof(size)) {
    for (int i = 3; i >= 0; --i) size = size << 8 | static_cast<unsigned char>((*raw)[i]);
    if (raw->size() - sizeof(size) == size) return raw->substr(sizeof(size));
  }
  return Invalid("input ", tensor.name(), " has ", raw->size(),
                 " raw bytes, which are not one element with its length in front");
}

absl::StatusOr<bool> Bool(const Tensor& tensor, const std::string* raw) {
  RETURN_IF_ERROR(CheckTensor(tensor, "BOOL"));
  if (raw == nullptr) {
    if (tensor.contents().bool_contents_size() == 1) return tensor.contents().bool_contents(0);
    return Invalid("input ", tensor.name(), " has ", tensor.contents().bool_contents_size(),
                   " elements in bool_contents; it must have 1");
  }
  if (raw->size() == 1) return (*raw)[0] != 0;
  return Invalid("input ", tensor.name(), " has ", raw->size(), " raw bytes; it must have 1");
}

// ---- Sampling parameters ----

// Of what is structured its kind alone: errors stand in the log, which is not to repeat texts.
std::string Shown(const json& value) {
  if (value.is_structured()) return value.is_array() ? "a list" : "an object";
  return Quotable(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

// A number, also one that stands in a string, as many clients send it.
absl::StatusOr<double> Number(absl::string_view name, const json& value) {
  double number = 0;
  if (value.is_number()) return value.get<double>();
  if (value.is_string() && absl::SimpleAtod(value.get_ref<const std::string&>(), &number)) {
    return number;
  }
  return Invalid("sampling_parameters: ", name, " is ", Shown(value), "; it must be a number");
}

absl::Status ReadFloat(absl::string_view name, const json& value, float* out) {
  ASSIGN_OR_RETURN(const double number, Number(name, value));
  *out = static_cast<float>(number);
  return absl::OkStatus();
}

template <typename Integer>
absl::Status ReadInteger(absl::string_view name, const json& value, Integer* out) {
  ASSIGN_OR_RETURN(const double number, Number(name, value));
  constexpr double kMost = std::numeric_limits<uint32_t>::max();
  const bool fits = number >= 0 && number <= kMost;  // which no NaN does
  if (!fits || number != static_cast<double>(static_cast<uint32_t>(number))) {
    return Invalid("sampling_parameters: ", name, " is ", Shown(value),
                   "; it must be a whole number from 0 to 4294967295");
  }
  *out = static_cast<uint32_t>(number);
  return absl::OkStatus();
}

absl::Status ReadBool(absl::string_view name, const json& value, bool* out) {
  const bool text = value.is_string();
  if (value.is_boolean()) {
    *out = value.get<bool>();
  } else if (!text || !absl::SimpleAtob(value.get_ref<const std::string&>(), out)) {
    return Invalid("sampling_parameters: ", name, " is ", Shown(value),
                   "; it must be true or false");
  }
  return absl::OkStatus();
}

// A string, or a list of them.
absl::Status ReadStop(absl::string_view name, const json& value, Request* request) {
  const json list = value.is_string() ? json::array({value}) : value;
  if (!list.is_array()) return Invalid("sampling_parameters: ", name, " must be a list of strings");
  for (const json& stop : list) {
    if (!stop.is_string()) {
      return Invalid("sampling_parameters: ", name, " has ", Shown(stop), "; it must be a string");
    }
    request->stop_strings.push_back(stop.get<std::string>());
  }
  return absl::OkStatus();
}

absl::Status ReadStopIds(absl::string_view name, const json& value, Request* request) {
  if (!value.is_array()) return Invalid("sampling_parameters: ", name, " must be a list of ids");
  for (const json& id : value) {
    RETURN_IF_ERROR(ReadInteger(name, id, &request->stop_token_ids.emplace_back()));
  }
  return absl::OkStatus();
}

absl::Status ReadBiases(absl::string_view name, const json& value, Request* request) {
  if (!value.is_object()) {
    return Invalid("sampling_parameters: ", name, " must be an object of token ids and biases");
  }
  for (const auto& [key, bias] : value.items()) {
    TokenId id = 0;
    RETURN_IF_ERROR(ReadInteger(name, json(key), &id));
    RETURN_IF_ERROR(ReadFloat(name, bias, &request->logit_bias[id]));
  }
  return absl::OkStatus();
}

absl::Status ReadSeed(absl::string_view name, const json& value, Request* request) {
  if (value.is_number_integer()) {  // all 64 bits, which a double has not
    request->sampling.set_seed(static_cast<uint64_t>(value.get<int64_t>()));
    return absl::OkStatus();
  }
  uint32_t seed = 0;
  RETURN_IF_ERROR(ReadInteger(name, value, &seed));
  request->sampling.set_seed(seed);
  return absl::OkStatus();
}

// vLLM's -1 is "all tokens" for top_k, which is our 0.
absl::Status ReadTopK(absl::string_view name, const json& value, Request* request) {
  ASSIGN_OR_RETURN(const double number, Number(name, value));
  if (number == -1) return absl::OkStatus();
  return ReadInteger(name, value, &request->sampling.top_k);
}

absl::Status ReadMaxTokens(absl::string_view name, const json& value, Request* request) {
  uint32_t tokens = 0;
  RETURN_IF_ERROR(ReadInteger(name, value, &tokens));
  request->max_tokens = tokens;
  return absl::OkStatus();
}

absl::Status ReadLogprobs(absl::string_view name, const json& value, Request* request) {
  request->logprobs = true;
  return ReadInteger(name, value, &request->top_logprobs);
}

using Reader = std::function<absl::Status(absl::string_view, const json&, Request*)>;

// By the names of vLLM's SamplingParams.
const std::map<std::string, Reader, std::less<>>& Readers() {
  const auto number = [](float SamplingParams::*field) {
    return [field](absl::string_view name, const json& value, Request* request) {
      return ReadFloat(name, value, &(request->sampling.*field));
    };
  };
  const auto flag = [](bool Request::*field) {
    return [field](absl::string_view name, const json& value, Request* request) {
      return ReadBool(name, value, &(request->*field));
    };
  };
  const auto count = [](uint32_t Request::*field) {
    return [field](absl::string_view name, const json& value, Request* request) {
      return ReadInteger(name, value, &(request->*field));
    };
  };
  static const auto* const readers = new std::map<std::string, Reader, std::less<>>{
      {"temperature", number(&SamplingParams::temperature)},
      {"top_p", number(&SamplingParams::top_p)},
      {"min_p", number(&SamplingParams::min_p)},
      {"presence_penalty", number(&SamplingParams::presence_penalty)},
      {"frequency_penalty", number(&SamplingParams::frequency_penalty)},
      {"repetition_penalty", number(&SamplingParams::repetition_penalty)},
      {"top_k", ReadTopK},
      {"seed", ReadSeed},
      {"max_tokens", ReadMaxTokens},
      {"min_tokens", count(&Request::min_tokens)},
      {"n", count(&Request::samples)},
      {"stop", ReadStop},
      {"stop_token_ids", ReadStopIds},
      {"logit_bias", ReadBiases},
      {"logprobs", ReadLogprobs},
      {"ignore_eos", flag(&Request::ignore_eos)},
      {"skip_special_tokens", flag(&Request::skip_special_tokens)},
      {"include_stop_str_in_output", flag(&Request::include_stop_string)},
  };
  return *readers;
}

absl::Status ReadParameters(const json& parameters, Request* request) {
  for (const auto& [name, value] : parameters.items()) {
    if (value.is_null()) continue;  // vLLM's "not set"
    const auto reader = Readers().find(name);
    if (reader == Readers().end()) {
      return Invalid("sampling_parameters: ", Quotable(name),
                     " is not known here; docs/stock_clients.md lists what is");
    }
    RETURN_IF_ERROR(reader->second(name, value, request));
  }
  return absl::OkStatus();
}

absl::StatusOr<json> ParseParameters(const std::string& text) {
  constexpr int kMostLevels = 2;  // lists and objects of plain values are all that is known
  auto parameters = ParseJson(text, kMostLevels);
  if (!parameters.ok()) return Invalid("sampling_parameters: ", parameters.status().message());
  if (!parameters->is_object()) return Invalid("sampling_parameters is not a JSON object");
  return parameters;
}

// The request's own `parameters`, but for those of the protocol itself.
absl::StatusOr<json> ParametersOf(const inference::ModelInferRequest& proto) {
  json parameters = json::object();
  for (const auto& [name, value] : proto.parameters()) {
    if (name.rfind("triton_", 0) == 0 || name == "binary_data_output") continue;
    switch (value.parameter_choice_case()) {
      case inference::InferParameter::kBoolParam:
        parameters[name] = value.bool_param();
        break;
      case inference::InferParameter::kInt64Param:
        parameters[name] = value.int64_param();
        break;
      case inference::InferParameter::kStringParam:
        parameters[name] = value.string_param();
        break;
      case inference::InferParameter::kDoubleParam:
        parameters[name] = value.double_param();
        break;
      case inference::InferParameter::kUint64Param:
        parameters[name] = value.uint64_param();
        break;
      case inference::InferParameter::PARAMETER_CHOICE_NOT_SET:
        return Invalid("the parameter ", Quotable(name), " has no value");
    }
  }
  return parameters;
}

// ---- The whole ----

// The inputs of a request, as far as they were given.
struct Inputs {
  std::optional<std::string> text, parameters;
  std::optional<bool> exclude_input;
};

absl::Status ReadInput(const Tensor& tensor, const std::string* raw, Inputs* inputs,
                       InferTerms* terms) {
  const std::string& name = tensor.name();
  if (name == "text_input" || name == "sampling_parameters") {
    ASSIGN_OR_RETURN(std::string value, Bytes(tensor, raw));
    (name == "text_input" ? inputs->text : inputs->parameters) = std::move(value);
    return absl::OkStatus();
  }
  const std::map<absl::string_view, bool*> flags = {
      {"stream", &terms->stream},
      {"return_finish_reason", &terms->finish_reason},
      {"return_cumulative_logprob", &terms->cumulative_logprob},
      {"return_logprobs", &terms->logprobs},
      {"return_num_input_tokens", &terms->num_input_tokens},
      {"return_num_output_tokens", &terms->num_output_tokens}};
  const auto flag = flags.find(name);
  if (flag == flags.end() && name != "exclude_input_in_output") {
    return Invalid("input ", Quotable(name),
                   " is not one of this model's; ModelMetadata lists them");
  }
  ASSIGN_OR_RETURN(const bool value, Bool(tensor, raw));
  if (flag != flags.end()) {
    *flag->second = value;
  } else {
    inputs->exclude_input = value;
  }
  return absl::OkStatus();
}

absl::Status ReadInputs(const inference::ModelInferRequest& proto, Inputs* inputs,
                        InferTerms* terms) {
  const int raws = proto.raw_input_contents_size();
  if (raws != 0 && raws != proto.inputs_size()) {
    return Invalid("raw_input_contents has ", raws, " entries; it must have one for each of the ",
                   proto.inputs_size(), " inputs, or none");
  }
  std::map<absl::string_view, int> seen;
  for (int i = 0; i < proto.inputs_size(); ++i) {
    if (++seen[proto.inputs(i).name()] > 1) {
      return Invalid("input ", Quotable(proto.inputs(i).name()), " is given twice");
    }
    RETURN_IF_ERROR(ReadInput(proto.inputs(i), raws != 0 ? &proto.raw_input_contents(i) : nullptr,
                              inputs, terms));
  }
  if (!inputs->text) return Invalid("input text_input is missing");
  return absl::OkStatus();
}

}  // namespace

std::string TextForLog(const inference::ModelInferRequest& proto) {
  constexpr size_t kMostBytes = 4096;
  for (int i = 0; i < proto.inputs_size(); ++i) {
    if (proto.inputs(i).name() != "text_input") continue;
    const bool raw = i < proto.raw_input_contents_size();
    const auto text = Bytes(proto.inputs(i), raw ? &proto.raw_input_contents(i) : nullptr);
    return text.ok() ? text->substr(0, kMostBytes) : "";
  }
  return "";
}

absl::Status CheckModel(const std::string& name, const std::string& version,
                        const std::string& model_name) {
  if (name == model_name && (version.empty() || version == "1")) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("model ", Quotable(name), ", version '",
                                          Quotable(version), "', is not here; ", model_name,
                                          ", version 1, is"));
}

absl::StatusOr<InferTerms> TermsFromInfer(const inference::ModelInferRequest& proto,
                                          const std::string& model_name, SteadyTime arrival) {
  RETURN_IF_ERROR(CheckModel(proto.model_name(), proto.model_version(), model_name));
  InferTerms terms;
  Inputs inputs;
  RETURN_IF_ERROR(ReadInputs(proto, &inputs, &terms));
  Request& request = terms.request;
  request.arrival = arrival;
  request.max_tokens = kDefaultMaxTokens;
  request.sampling.temperature = 1.0F;
  request.sampling.set_seed(RandomBits());
  json parameters;
  if (inputs.parameters) {
    ASSIGN_OR_RETURN(parameters, ParseParameters(*inputs.parameters));
  } else {
    ASSIGN_OR_RETURN(parameters, ParametersOf(proto));
  }
  RETURN_IF_ERROR(ReadParameters(parameters, &request));
  if (terms.logprobs && !request.logprobs) {
    return Invalid("return_logprobs is true; it needs logprobs in sampling_parameters");
  }
  request.cumulative_logprob = terms.cumulative_logprob;
  const bool exclude = inputs.exclude_input.value_or(terms.stream);
  if (!exclude && terms.stream) {
    return Invalid("exclude_input_in_output is false; a stream never has the input in it");
  }
  if (!exclude) terms.prepended = *inputs.text;
  request.prompt = *std::move(inputs.text);
  return terms;
}

absl::Status WithInferNames(const absl::Status& status) {
  std::optional<Refusal> refusal = RefusalIn(status);
  if (!refusal.has_value()) return status;
  static const auto* const names =
      new std::map<std::string, std::string, std::less<>>{{"samples", "n"},
                                                          {"stop_strings", "stop"},
                                                          {"top_logprobs", "logprobs"},
                                                          {"text", "text_input"},
                                                          {"prompt", "text_input"}};
  const size_t name = std::min(refusal->field.find('['), refusal->field.size());
  const auto found = names->find(refusal->field.substr(0, name));
  if (found == names->end()) return status;
  refusal->field.replace(0, name, found->second);
  return ToStatus(*refusal);
}

}  // namespace recurve
