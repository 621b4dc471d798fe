// SPDX-License-Identifier: Apache-2.0
// What a call takes of its tenant's quota, and when it gives that back.
#include "gmock/gmock.h"
#include "tests/server/call/call_fixture.h"

namespace recurve {
namespace {

using testing::HasSubstr;

class CallQuotasTest : public CallTest {
 protected:
  void SetUp() override {
    CallTest::SetUp();
    context_.quotas = &quotas_;
  }
  void SetQuota(const Quota& quota) {
    AccessRules rules;
    rules.any_quota = quota;
    quotas_.SetRules(std::make_shared<AccessRules>(rules));
  }
  // A call that has been admitted, or refused.
  std::shared_ptr<TestCall> Come(uint32_t samples = 1, uint32_t max_tokens = 10) {
    auto call = NewCall();
    Rejection why = Rejection::kInvalid;
    Request request = TextRequest();
    request.samples = samples;
    request.max_tokens = max_tokens;
    if (absl::Status status = call->Enter(&why); !status.ok()) {
      call->Refuse(status, why);
    } else {
      call->Admit(request);
    }
    return call;
  }
  void Leave(const std::shared_ptr<TestCall>& call) {
    EXPECT_TRUE(call->WaitForStatus().ok());
    call->TransportDone();
  }
  std::string RefusalOf(const std::shared_ptr<TestCall>& call) {
    const absl::Status status = call->WaitForStatus();
    call->TransportDone();
    return std::string(status.message());
  }
  // Ends a sample and takes its message.
  void End(Engine::SampleId id, const std::shared_ptr<TestCall>& call) {
    engine_.End(id, {});
    call->WaitForDelta();
    call->WriteDone(true);
  }

  Quotas quotas_{20};
};

TEST_F(CallQuotasTest, ACallCountsFromItsArrivalToTheEndOfItsSamples) {
  SetQuota({.requests = 1});
  const auto first = Come(2);
  EXPECT_THAT(RefusalOf(Come()), HasSubstr("has 1 calls at once"));
  End(1, first);
  EXPECT_THAT(RefusalOf(Come()), HasSubstr("has 1 calls at once"));
  engine_.End(2, {});
  // Its place is free before its client knows that it has ended.
  const auto second = Come();
  first->WaitForDelta();
  first->WriteDone(true);
  Leave(first);
  End(3, second);
  Leave(second);
  EXPECT_EQ(quotas_.tenants(), 0U);
  EXPECT_THAT(LogText(), HasSubstr("refused=quota_requests"));
}

TEST_F(CallQuotasTest, TokensThatWereNotUsedComeBack) {
  SetQuota({.tokens_per_minute = 60});
  const auto first = Come(2, 25);  // the prompt has 5
  EXPECT_THAT(RefusalOf(Come(1, 10)), HasSubstr("has used its quota `tokens_per_minute`"));
  engine_.Emit(1, MakeTokens({"a", "b"}));
  first->WaitForDelta();
  first->WriteDone(true);
  End(1, first);
  End(2, first);
  Leave(first);
  const auto second = Come(1, 40);  // 60 - 5 - 2 are there
  End(3, second);
  Leave(second);
  EXPECT_THAT(RefusalOf(Come(1, 60)), HasSubstr("so lower max_tokens"));
  EXPECT_THAT(LogText(), HasSubstr("refused=quota_tokens"));
  EXPECT_THAT(LogText(), HasSubstr("refused=invalid"));
}

TEST_F(CallQuotasTest, ASampleWaitsUntilItStarts) {
  SetQuota({.queue_share = 0.1});  // 2 of 20
  const auto first = Come(2);
  EXPECT_THAT(RefusalOf(Come()), HasSubstr("has 2 requests waiting"));
  engine_.Emit(1, MakeTokens({"a"}));
  const auto second = Come();
  EXPECT_THAT(LogText(), HasSubstr("refused=quota_queue"));
  first->WaitForDelta();
  first->WriteDone(true);
  End(1, first);
  End(2, first);
  Leave(first);
  End(3, second);
  Leave(second);
  EXPECT_EQ(quotas_.tenants(), 0U);
}

TEST_F(CallQuotasTest, WhatTheEngineRefusesCostsNothing) {
  SetQuota({.requests = 1, .tokens_per_minute = 60, .queue_share = 0.05});
  engine_.RefuseWith(absl::ResourceExhaustedError("queue full"));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(RefusalOf(Come(1, 50)), "queue full");
  EXPECT_EQ(quotas_.tenants(), 0U);
  EXPECT_THAT(LogText(), HasSubstr("refused=queue_full"));
}

}  // namespace
}  // namespace recurve
