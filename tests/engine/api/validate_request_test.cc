// SPDX-License-Identifier: Apache-2.0
// Every range that holds for all models, at its ends and just beyond them.
#include "engine/api/validate_request.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "engine/api/refusal.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Case {
  std::string field;
  std::string found;  // empty: it is valid
  std::function<void(Request&)> change;
};

std::vector<Case> Numbers() {
  return {
      {"temperature", "is nan", [](Request& r) { r.sampling.temperature = kNan; }},
      {"temperature", "is -3", [](Request& r) { r.sampling.temperature = -3; }},
      {"temperature", "is 100.00001", [](Request& r) { r.sampling.temperature = 100.00001F; }},
      {"temperature", "", [](Request& r) { r.sampling.temperature = 100; }},
      {"repetition_penalty", "is 0", [](Request& r) { r.sampling.repetition_penalty = 0; }},
      {"repetition_penalty", "is nan", [](Request& r) { r.sampling.repetition_penalty = kNan; }},
      {"repetition_penalty", "", [](Request& r) { r.sampling.repetition_penalty = 100; }},
      {"presence_penalty", "is -101", [](Request& r) { r.sampling.presence_penalty = -101; }},
      {"presence_penalty", "is inf", [](Request& r) { r.sampling.presence_penalty = INFINITY; }},
      {"frequency_penalty", "is 100.5", [](Request& r) { r.sampling.frequency_penalty = 100.5F; }},
      {"top_p", "is 5", [](Request& r) { r.sampling.top_p = 5; }},
      {"top_p", "is 0", [](Request& r) { r.sampling.top_p = 0; }},
      {"min_p", "is 1", [](Request& r) { r.sampling.min_p = 1; }},
      {"min_p", "is nan", [](Request& r) { r.sampling.min_p = kNan; }},
      {"min_p", "", [](Request& r) { r.sampling.min_p = 0.999F; }},
      {"router_threshold", "is nan", [](Request& r) { r.router_threshold = kNan; }},
      {"router_threshold", "is 1.1", [](Request& r) { r.router_threshold = 1.1F; }},
      {"router_threshold", "", [](Request& r) { r.router_threshold = 1.0F; }},
      {"logit_bias[5]", "is nan", [](Request& r) { r.logit_bias[5] = kNan; }},
      {"logit_bias[5]", "is 1001", [](Request& r) { r.logit_bias[5] = 1001; }},
      {"logit_bias[5]", "", [](Request& r) { r.logit_bias[5] = -1000; }},
      {"top_logprobs", "is 21", [](Request& r) { r.top_logprobs = 21; }},
      {"samples", "is 0", [](Request& r) { r.samples = 0; }},
      {"samples", "is 4000000000", [](Request& r) { r.samples = 4'000'000'000; }},
      {"samples", "", [](Request& r) { r.samples = kMaxSamples; }},
      {"priority", "is 3", [](Request& r) { r.priority = static_cast<Priority>(3); }},
  };
}

std::vector<Case> SizesAndContradictions() {
  using Ids = std::vector<uint32_t>;
  return {
      {"logit_bias", "has 1025 entries",
       [](Request& r) {
         for (uint32_t id = 0; id < 1025; ++id) r.logit_bias[id] = 1;
       }},
      {"stop_strings", "has 5000 entries",
       [](Request& r) { r.stop_strings.assign(5000, std::string(4000, 'x')); }},
      {"stop_strings[1]", "has 0 bytes",
       [](Request& r) {
         r.stop_strings = {"x", ""};
       }},
      {"stop_strings[0]", "has 257 bytes",
       [](Request& r) { r.stop_strings = {std::string(257, 'x')}; }},
      {"stop_strings", "", [](Request& r) { r.stop_strings.assign(16, std::string(256, 'x')); }},
      {"stop_token_ids", "has 33 entries", [](Request& r) { r.stop_token_ids.assign(33, 1); }},
      {"tenant", "has 1048576 bytes", [](Request& r) { r.tenant.assign(1 << 20, 't'); }},
      {"tenant", "", [](Request& r) { r.tenant.assign(kMaxTenantBytes, 't'); }},
      {"id", "has 129 bytes", [](Request& r) { r.id.assign(129, 'i'); }},
      {"generated_prefix", "is 1", [](Request& r) { r.generated_prefix = 1; }},
      {"generated_prefix", "is 3",
       [](Request& r) {
         r.prompt = Ids{1, 2};
         r.generated_prefix = 3;
       }},
      {"max_tokens", "is 0", [](Request& r) { r.max_tokens = 0; }},
      {"max_tokens", "is 0",
       [](Request& r) {
         r.max_tokens = 0;
         r.prompt_logprobs = true;
         r.samples = 2;
       }},
      {"max_tokens", "",
       [](Request& r) {
         r.max_tokens = 0;
         r.prompt_logprobs = true;
       }},
      {"min_tokens", "is 8",
       [](Request& r) {
         r.prompt = Ids{1, 2, 3};
         r.generated_prefix = 2;
         r.max_tokens = 5;
         r.min_tokens = 8;
       }},
      {"min_tokens", "",
       [](Request& r) {
         r.max_tokens = std::numeric_limits<uint32_t>::max();
         r.min_tokens = std::numeric_limits<uint32_t>::max();
       }},
  };
}

void Expect(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    Request request;
    c.change(request);
    const absl::Status status = ValidateRequest(request);
    if (c.found.empty()) {
      EXPECT_TRUE(status.ok()) << c.field << ": " << status;
      continue;
    }
    const auto refusal = RefusalIn(status);
    ASSERT_TRUE(refusal.has_value()) << c.field << " " << c.found << ": " << status;
    EXPECT_EQ(refusal->field, c.field);
    EXPECT_EQ(refusal->found, c.found);
    EXPECT_NE(refusal->limit, "");
  }
}

TEST(ValidateRequestTest, ADefaultRequestIsValid) { EXPECT_TRUE(ValidateRequest(Request()).ok()); }

TEST(ValidateRequestTest, NumbersHaveRanges) { Expect(Numbers()); }

TEST(ValidateRequestTest, ListsHaveSizesAndFieldsAgree) { Expect(SizesAndContradictions()); }

}  // namespace
}  // namespace recurve
