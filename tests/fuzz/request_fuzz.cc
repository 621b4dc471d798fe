// SPDX-License-Identifier: Apache-2.0
// A GenerateRequest as bytes from the network: parsed, translated, prepared for a small model.
#include <google/protobuf/stubs/logging.h>

#include <chrono>
#include <string>
#include <string_view>
#include <variant>

#include "engine/api/validate_request.h"
#include "engine/prepare_samples.h"
#include "engine/tokenizer/utf8.h"
#include "recurve/v1/generation.pb.h"
#include "server/grpc/request_from_proto.h"
#include "tests/fuzz/fixed_tokenizers.h"
#include "tests/fuzz/fuzz.h"

namespace recurve {
namespace {

bool Between(float value, float least, float most) { return value >= least && value <= most; }

// The bounds that the API promises, and those of a field that others presume.
void CheckSampling(const Request& request) {
  RECURVE_CHECK(request.sampling.repetition_penalty > 0 &&
                request.sampling.repetition_penalty <= 100);
  RECURVE_CHECK(Between(request.sampling.presence_penalty, -100, 100));
  RECURVE_CHECK(Between(request.sampling.frequency_penalty, -100, 100));
  RECURVE_CHECK(Between(request.sampling.temperature, 0, 100));
  RECURVE_CHECK(request.sampling.top_p > 0 && request.sampling.top_p <= 1);
  RECURVE_CHECK(request.sampling.min_p >= 0 && request.sampling.min_p < 1);
  RECURVE_CHECK(request.logit_bias.size() <= kMaxLogitBiases);
  for (const auto& [id, bias] : request.logit_bias) RECURVE_CHECK(Between(bias, -1000, 1000));
  RECURVE_CHECK(request.top_logprobs <= kMaxTopLogprobs);
  if (request.router_threshold) RECURVE_CHECK(Between(*request.router_threshold, 0, 1));
}

void CheckEnd(const Request& request) {
  if (request.max_tokens) {
    RECURVE_CHECK(*request.max_tokens > 0 || request.prompt_logprobs);
    RECURVE_CHECK(request.min_tokens <= uint64_t{*request.max_tokens} + request.generated_prefix);
  }
  RECURVE_CHECK(request.stop_strings.size() <= kMaxStopStrings);
  for (const std::string& stop : request.stop_strings) {
    RECURVE_CHECK(!stop.empty() && stop.size() <= kMaxStopStringBytes);
    RECURVE_CHECK(FindInvalidUtf8(stop) == stop.npos);
  }
  RECURVE_CHECK(request.stop_token_ids.size() <= kMaxStopTokenIds);
  if (request.time_limit) RECURVE_CHECK(*request.time_limit > request.arrival);
  const auto* ids = std::get_if<std::vector<uint32_t>>(&request.prompt);
  RECURVE_CHECK(request.generated_prefix <= (ids == nullptr ? 0 : ids->size()));
}

ModelConfig SmallConfig(uint32_t vocab_size) {
  ModelConfig config;
  config.vocab_size = vocab_size;
  config.hidden_size = config.intermediate_size = 8;
  config.num_layers = 5;
  config.num_heads = config.num_kv_heads = 2;
  config.head_dim = 4;
  config.max_positions = 128;
  config.sharing = Sharing::kMiddleCycle;
  config.num_recursions = 3;
  config.router.type = RouterType::kExpertChoice;
  return config;
}

void CheckPrepared(const Request& request) {
  static const std::unique_ptr<Tokenizer> kTokenizer = MakeTokenizerWithAddedTokens();
  static const ModelConfig kConfig = SmallConfig(static_cast<uint32_t>(kTokenizer->vocab_size()));
  static const TextEncoder kEncoder(kTokenizer.get(), kConfig.max_positions);
  const auto prepared = PrepareSample(request, kConfig, EvictionOptions(), kEncoder);
  if (!prepared.ok()) return CheckRefusal(prepared.status());
  for (const DepthCap& cap : prepared->caps) RECURVE_CHECK(cap.position == 0);
  if (prepared->prompt_logprobs) RECURVE_CHECK(prepared->logprobs.has_value());
  RECURVE_CHECK(prepared->threshold_logit == prepared->threshold_logit);  // not a NaN
}

}  // namespace
}  // namespace recurve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Each message that is not UTF-8 would cost a line of log.
  [[maybe_unused]] static const auto kPreviousHandler = google::protobuf::SetLogHandler(nullptr);
  recurve::v1::GenerateRequest proto;
  if (!proto.ParseFromArray(data, static_cast<int>(size))) return 0;
  const recurve::SteadyTime arrival(std::chrono::hours(1));
  const auto request = recurve::RequestFromProto(proto, arrival);
  if (!request.ok()) {
    recurve::CheckRefusal(request.status());
    return 0;
  }
  const absl::Status valid = recurve::WithProtoPaths(recurve::ValidateRequest(*request));
  if (!valid.ok()) {
    recurve::CheckRefusal(valid);
    return 0;
  }
  recurve::CheckSampling(*request);
  recurve::CheckEnd(*request);
  recurve::CheckPrepared(*request);
  return 0;
}
