// SPDX-License-Identifier: Apache-2.0
#include "server/access/quotas.h"

#include <cmath>
#include <map>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"

namespace recurve {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr uint32_t kQueue = 20;

class QuotasTest : public testing::Test {
 protected:
  void SetQuota(const std::string& tenant, const Quota& quota) {
    rules_.quotas[tenant] = quota;
    quotas_.SetRules(std::make_shared<AccessRules>(rules_));
  }
  // Null and `status_` if refused.
  std::unique_ptr<Quotas::Lease> Enter(const std::string& tenant) {
    auto lease = quotas_.Enter(tenant, &why_);
    status_ = lease.status();
    return lease.ok() ? *std::move(lease) : nullptr;
  }

  SteadyTime now_;
  AccessRules rules_;
  Quotas quotas_{kQueue, [this] { return now_; }};
  Rejection why_ = Rejection::kInvalid;
  absl::Status status_;
};

TEST_F(QuotasTest, WithoutAQuotaThereIsNothingToHold) {
  EXPECT_EQ(Enter("alice"), nullptr);
  EXPECT_TRUE(status_.ok());
  EXPECT_EQ(quotas_.tenants(), 0U);
}

TEST_F(QuotasTest, SoManyCallsAtOnce) {
  SetQuota("alice", {.requests = 2});
  auto first = Enter("alice");
  const auto second = Enter("alice");
  EXPECT_EQ(Enter("alice"), nullptr);
  EXPECT_EQ(why_, Rejection::kQuotaRequests);
  EXPECT_TRUE(absl::IsResourceExhausted(status_));
  EXPECT_EQ(status_.message(), "tenant 'alice' has 2 calls at once; its quota `requests` is 2");
  EXPECT_EQ(PushbackOf(status_), std::nullopt);  // nobody knows when one ends
  first.reset();
  EXPECT_NE(Enter("alice"), nullptr);
}

TEST_F(QuotasTest, AQuotaOfNothingLeavesNoTrace) {
  SetQuota("alice", {.requests = 0});
  EXPECT_EQ(Enter("alice"), nullptr);
  EXPECT_EQ(quotas_.tenants(), 0U);
}

TEST_F(QuotasTest, TokensAreChargedAtMostAndGivenBack) {
  SetQuota("alice", {.tokens_per_minute = 600});  // ten a second
  auto call = Enter("alice");
  ASSERT_TRUE(call->Charge(1, 500, &why_).ok());
  const auto next = Enter("alice");
  status_ = next->Charge(1, 130, &why_);
  EXPECT_TRUE(absl::IsResourceExhausted(status_)) << status_;
  EXPECT_EQ(why_, Rejection::kQuotaTokens);
  EXPECT_THAT(status_.message(), HasSubstr("tenant 'alice' has used its quota `tokens_per_minute` "
                                           "of 600; 130 tokens are there in 3000 ms"));
  EXPECT_EQ(PushbackOf(status_), milliseconds(3000));
  now_ += milliseconds(2999);
  EXPECT_EQ(PushbackOf(next->Charge(1, 130, &why_)), milliseconds(1));
  call->Used(20);
  call.reset();  // 480 come back
  EXPECT_TRUE(next->Charge(1, 130, &why_).ok());
  now_ += std::chrono::minutes(2);
  EXPECT_EQ(quotas_.tenants(), 1U);
}

TEST_F(QuotasTest, WhatCanNeverFitIsInvalid) {
  SetQuota("alice", {.tokens_per_minute = 600, .queue_share = 0.1});
  const auto call = Enter("alice");
  status_ = call->Charge(1, 601, &why_);
  EXPECT_TRUE(absl::IsInvalidArgument(status_));
  EXPECT_THAT(status_.message(), HasSubstr("up to 601; tenant 'alice' has the quota "
                                           "`tokens_per_minute` of 600, so lower max_tokens"));
  status_ = call->Charge(3, 10, &why_);
  EXPECT_TRUE(absl::IsInvalidArgument(status_));
  EXPECT_THAT(status_.message(), HasSubstr("3 samples can never wait together"));
}

TEST_F(QuotasTest, AShareOfTheQueueIsOfThoseThatWait) {
  SetQuota("alice", {.queue_share = 0.19});  // 3 of 20
  const auto first = Enter("alice"), second = Enter("alice");
  ASSERT_TRUE(first->Charge(2, 10, &why_).ok());
  status_ = second->Charge(2, 10, &why_);
  EXPECT_TRUE(absl::IsResourceExhausted(status_));
  EXPECT_EQ(why_, Rejection::kQuotaQueue);
  EXPECT_EQ(status_.message(),
            "tenant 'alice' has 2 requests waiting; its quota `queue_share` of "
            "0.19 allows 3");
  first->LeftQueue();
  EXPECT_TRUE(second->Charge(2, 10, &why_).ok());
  first->LeftQueue();
  first->LeftQueue();  // more than it had
  EXPECT_FALSE(Enter("alice")->Charge(2, 10, &why_).ok());
  EXPECT_TRUE(Enter("alice")->Charge(1, 10, &why_).ok());
}

TEST_F(QuotasTest, NewRulesHoldForCallsThatAreThere) {
  SetQuota("alice", {.requests = 5, .tokens_per_minute = 600});
  const auto call = Enter("alice");
  ASSERT_TRUE(call->Charge(1, 600, &why_).ok());
  SetQuota("alice", {.requests = 1, .tokens_per_minute = 60});
  EXPECT_EQ(Enter("alice"), nullptr);
  SetQuota("alice", {.requests = 5, .tokens_per_minute = 60});
  const auto next = Enter("alice");
  EXPECT_EQ(PushbackOf(next->Charge(1, 2, &why_)), milliseconds(2000));
  SetQuota("alice", {});
  EXPECT_EQ(Enter("alice"), nullptr);
  EXPECT_TRUE(status_.ok());
  EXPECT_TRUE(next->Charge(9, 1000, &why_).ok());
}

// Whoever invents tenants fills a table of a fixed size, for a minute.
TEST_F(QuotasTest, TenantsAreBounded) {
  rules_.any_quota = Quota{.tokens_per_minute = 60};
  quotas_.SetRules(std::make_shared<AccessRules>(rules_));
  for (size_t i = 0; i < kMostTenantsTracked; ++i) {
    const auto call = Enter(absl::StrCat("tenant ", i));
    ASSERT_TRUE(call->Charge(1, 30, &why_).ok());
    call->Used(30);
  }
  EXPECT_EQ(quotas_.tenants(), kMostTenantsTracked);
  EXPECT_EQ(Enter("one more"), nullptr);
  EXPECT_THAT(status_.message(), HasSubstr("is one too many: 10000 others"));
  EXPECT_NE(Enter("tenant 7"), nullptr);
  now_ += std::chrono::seconds(30);
  EXPECT_NE(Enter("one more"), nullptr);
  EXPECT_EQ(quotas_.tenants(), 0U);
}

// ---- A naive model: everything that ever happened, added up anew for each question ----

struct Change {
  SteadyTime at;
  double tokens;  // taken, or given back if negative
};

// What a bucket holds after these, of tokens.
double LevelOf(const std::vector<Change>& changes, double per_minute, SteadyTime now) {
  double level = per_minute;
  SteadyTime last;
  const auto earn = [&](SteadyTime at) {
    const double minutes = std::chrono::duration<double>(at - last).count() / 60;
    level = std::min(per_minute, level + minutes * per_minute);
    last = at;
  };
  for (const Change& change : changes) {
    earn(change.at);
    level = std::min(per_minute, level - change.tokens);
  }
  earn(now);
  return level;
}

struct ModelCall {
  std::unique_ptr<Quotas::Lease> lease;
  std::string tenant;
  bool charged = false;
  uint32_t waiting = 0;
  uint64_t tokens = 0, used = 0;
};

class QuotasModelTest : public QuotasTest, public testing::WithParamInterface<int> {
 protected:
  uint32_t Draw(uint32_t below) { return static_cast<uint32_t>(random_() % below); }

  void Come(const std::string& tenant) {
    uint32_t there = 0;
    for (const ModelCall& call : calls_) there += call.tenant == tenant;
    auto lease = Enter(tenant);
    ASSERT_EQ(lease != nullptr, there < *rules_.quotas[tenant].requests);
    if (lease != nullptr) calls_.push_back({std::move(lease), tenant, false, 0, 0, 0});
  }

  void Charge(ModelCall* call) {
    const Quota& quota = rules_.quotas[call->tenant];
    const uint32_t samples = 1 + Draw(3);
    const uint64_t tokens = 1 + Draw(static_cast<uint32_t>(*quota.tokens_per_minute));
    uint32_t waiting = 0;
    for (const ModelCall& other : calls_) {
      if (other.tenant == call->tenant) waiting += other.waiting;
    }
    const bool has_place = waiting + samples <= static_cast<uint32_t>(*quota.queue_share * kQueue);
    const double level =
        LevelOf(changes_[call->tenant], static_cast<double>(*quota.tokens_per_minute), now_);
    if (std::abs(level - static_cast<double>(tokens)) < 1e-6) return;  // the model cannot tell
    const absl::Status status = call->lease->Charge(samples, tokens, &why_);
    ASSERT_EQ(status.ok(), has_place && level > static_cast<double>(tokens)) << status;
    if (!status.ok()) {
      ASSERT_EQ(why_, has_place ? Rejection::kQuotaTokens : Rejection::kQuotaQueue);
      if (!has_place) return;
      const double missing = static_cast<double>(tokens) - level;
      const double wait = missing / static_cast<double>(*quota.tokens_per_minute) * 60'000;
      ASSERT_NEAR(static_cast<double>(PushbackOf(status)->count()), wait, 1.01);
      return;
    }
    *call = {std::move(call->lease), call->tenant, true, samples, tokens, 0};
    changes_[call->tenant].push_back({now_, static_cast<double>(tokens)});
  }

  void End(size_t index) {
    ModelCall& call = calls_[index];
    if (call.charged) {
      changes_[call.tenant].push_back({now_, -static_cast<double>(call.tokens - call.used)});
    }
    calls_.erase(calls_.begin() + static_cast<ptrdiff_t>(index));
  }

  std::mt19937_64 random_{static_cast<uint64_t>(GetParam())};
  std::vector<ModelCall> calls_;
  std::map<std::string, std::vector<Change>> changes_;
};

TEST_P(QuotasModelTest, AgreesUnderRandomOperations) {
  const std::string tenants[] = {"a", "b", "c"};
  SetQuota("a", {3, 600, 0.25});
  SetQuota("b", {5, 12'345, 0.5});
  SetQuota("c", {2, 7, 0.15});
  for (int step = 0; step < 600 && !HasFatalFailure(); ++step) {
    now_ += microseconds(Draw(2'000'000));
    switch (Draw(4)) {
      case 0:
        Come(tenants[Draw(3)]);
        break;
      case 1: {
        std::vector<ModelCall*> open;
        for (ModelCall& call : calls_) {
          if (!call.charged) open.push_back(&call);
        }
        if (!open.empty()) Charge(open[Draw(static_cast<uint32_t>(open.size()))]);
        break;
      }
      case 2:
        if (!calls_.empty()) {
          ModelCall& call = calls_[Draw(static_cast<uint32_t>(calls_.size()))];
          if (call.waiting > 0) {
            --call.waiting;
            call.lease->LeftQueue();
          }
          const uint64_t more = Draw(static_cast<uint32_t>(call.tokens - call.used + 1));
          call.used += more;
          call.lease->Used(more);
        }
        break;
      default:
        if (!calls_.empty()) End(Draw(static_cast<uint32_t>(calls_.size())));
    }
  }
  while (!calls_.empty()) End(0);
  now_ += std::chrono::minutes(1);
  EXPECT_EQ(quotas_.tenants(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, QuotasModelTest, testing::Range(0, 20));

}  // namespace
}  // namespace recurve
