// SPDX-License-Identifier: Apache-2.0
#include "client/load/oip_messages.h"

#include <cstddef>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/load/sampling_json.h"

namespace recurve::client {
namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;

constexpr size_t kCountBytes = 4;  // of a number in raw contents, the lowest first

std::string LittleEndian(uint32_t number) {
  std::string bytes;
  for (size_t i = 0; i < kCountBytes; ++i) bytes.push_back(static_cast<char>(number >> 8 * i));
  return bytes;
}

uint32_t FromLittleEndian(const std::string& bytes) {
  uint32_t number = 0;
  for (size_t i = 0; i < kCountBytes; ++i) {
    number |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])) << 8 * i;
  }
  return number;
}

void AddInput(const char* name, const char* datatype, std::string raw,
              const std::set<std::string>& inputs, ModelInferRequest& message) {
  if (!inputs.contains(name)) return;
  auto& input = *message.add_inputs();
  input.set_name(name);
  input.set_datatype(datatype);
  input.add_shape(1);
  message.add_raw_input_contents(std::move(raw));
}

std::string Bytes(const std::string& text) {
  return LittleEndian(static_cast<uint32_t>(text.size())) + text;
}

std::string Bool(bool value) { return std::string(1, value ? '\1' : '\0'); }

// The raw contents of an output's one element; none without the output.
absl::StatusOr<std::optional<std::string>> OneElement(const ModelInferResponse& response,
                                                      const char* name) {
  for (int i = 0; i < response.outputs_size(); ++i) {
    if (response.outputs(i).name() != name) continue;
    if (i < response.raw_output_contents_size() &&
        response.raw_output_contents(i).size() >= kCountBytes) {
      return response.raw_output_contents(i);
    }
    return absl::InvalidArgumentError(
        absl::StrCat("the output ", name, " has no raw contents of 4 bytes or more"));
  }
  return std::nullopt;
}

}  // namespace

ModelInferRequest ToInfer(const v1::GenerateRequest& request, const std::string& model,
                          const nlohmann::json& extra, const std::set<std::string>& inputs) {
  nlohmann::json sampling = SamplingJson(request);
  sampling.merge_patch(extra);
  ModelInferRequest message;
  message.set_model_name(model);
  AddInput("text_input", "BYTES", Bytes(request.text()), inputs, message);
  AddInput("stream", "BOOL", Bool(true), inputs, message);
  AddInput("sampling_parameters", "BYTES", Bytes(sampling.dump()), inputs, message);
  AddInput("exclude_input_in_output", "BOOL", Bool(true), inputs, message);
  AddInput("return_num_input_tokens", "BOOL", Bool(true), inputs, message);
  AddInput("return_num_output_tokens", "BOOL", Bool(true), inputs, message);
  return message;
}

absl::StatusOr<Heard> HeardOf(const ModelInferResponse& response) {
  const auto text = OneElement(response, "text_output");
  const auto prompt = OneElement(response, "num_input_tokens");
  const auto generated = OneElement(response, "num_output_tokens");
  for (const auto* element : {&text, &prompt, &generated}) {
    if (!element->ok()) return element->status();
  }
  Heard heard;
  if (*prompt) heard.prompt_tokens = FromLittleEndian(**prompt);
  if (*generated) {
    heard.tokens = FromLittleEndian(**generated);
    heard.generated_tokens = *heard.tokens;
  } else if (*text && FromLittleEndian(**text) > 0) {
    heard.tokens = std::nullopt;
  }
  return heard;
}

}  // namespace recurve::client
