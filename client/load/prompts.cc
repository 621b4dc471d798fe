// SPDX-License-Identifier: Apache-2.0
#include "client/load/prompts.h"

#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/prompt_text.h"

namespace recurve::client {
namespace {

// Numbers of a request that those of its neighbours tell nothing of.
std::mt19937_64 RandomOf(uint64_t seed, uint64_t index) {
  std::seed_seq seeds = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32),
                         static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32)};
  return std::mt19937_64(seeds);
}

}  // namespace

absl::StatusOr<RequestMaker> RequestMaker::Create(const BenchFlags& flags, uint32_t vocab_size) {
  RequestMaker maker(flags, vocab_size);
  if (flags.prompts.empty()) {
    if (vocab_size == 0) return absl::InternalError("the server tells a vocabulary of no tokens");
    // A seed that two runs hardly share, and that one can type.
    maker.seed_ = flags.prompt_seed.value_or(std::random_device()());
    return maker;
  }
  auto text = ReadText(flags.prompts);
  if (!text.ok()) return text.status();
  maker.prompts_ = absl::StrSplit(*text, '\n', absl::SkipEmpty());
  if (maker.prompts_.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--prompts: the file '", flags.prompts, "' has no lines"));
  }
  return maker;
}

v1::GenerateRequest RequestMaker::Make(uint64_t index) const {
  v1::GenerateRequest request;
  flags_->sampling.Fill(request);
  if (!prompts_.empty()) {
    request.set_text(prompts_[index % prompts_.size()]);
    return request;
  }
  std::mt19937_64 random = RandomOf(*seed_, index);
  for (uint32_t i = 0; i < flags_->prompt_tokens; ++i) {
    request.mutable_tokens()->add_ids(static_cast<uint32_t>(random() % vocab_size_));
  }
  request.mutable_stop()->set_ignore_eos(true);  // the lengths are the flags'
  return request;
}

}  // namespace recurve::client
