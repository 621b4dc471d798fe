// SPDX-License-Identifier: Apache-2.0
#include "engine/inbox.h"

#include <atomic>
#include <map>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

Arrival MakeArrival(uint32_t samples, uint32_t prompt_tokens) {
  Arrival arrival;
  arrival.samples.resize(samples);
  for (ScheduledSample& sample : arrival.samples) sample.prompt.resize(prompt_tokens);
  return arrival;
}

TEST(InboxTest, AllSamplesGetPlacesOrNone) {
  Inbox inbox({4, 100});
  EXPECT_EQ(inbox.Add(MakeArrival(3, 10)).value(), 1U);
  EXPECT_TRUE(inbox.CheckOpen(1).ok());
  EXPECT_EQ(inbox.CheckOpen(2).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(inbox.Add(MakeArrival(2, 10)).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(inbox.Add(MakeArrival(1, 71)).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(inbox.Add(MakeArrival(5, 1)).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(inbox.Add(MakeArrival(1, 101)).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(inbox.state().waiting.samples, 3U);
  EXPECT_EQ(inbox.state().waiting.tokens, 30U);
  EXPECT_EQ(inbox.Add(MakeArrival(1, 70)).value(), 4U) << "what was refused has taken no id";
  EXPECT_EQ(inbox.state().prompt_tokens, 80U) << "once a request";
}

TEST(InboxTest, APlaceIsTakenUntilTheScheduleSaysOtherwise) {
  Inbox inbox({2, 100});
  ASSERT_TRUE(inbox.Add(MakeArrival(2, 10)).ok());
  ASSERT_THAT(inbox.Take(/*wait=*/false).arrivals, SizeIs(1));
  EXPECT_EQ(inbox.state().waiting.samples, 2U) << "taken, but nothing is known of them";
  inbox.SetScheduled({1, 10});  // one has a slot
  EXPECT_EQ(inbox.state().waiting.samples, 1U);
  EXPECT_TRUE(inbox.Add(MakeArrival(1, 10)).ok());
  inbox.SetScheduled({2, 20});  // the loop put one back; the new one is still here
  EXPECT_EQ(inbox.state().waiting.samples, 3U);
  EXPECT_EQ(inbox.state().waiting.tokens, 30U);
  EXPECT_FALSE(inbox.CheckOpen(1).ok());
}

TEST(InboxTest, ACancellationIsPassedOnOnceAndOnlyWhileItsSampleLives) {
  Inbox inbox({8, 100});
  ASSERT_TRUE(inbox.Add(MakeArrival(3, 1)).ok());
  inbox.Cancel(2);
  inbox.Cancel(2);
  inbox.Cancel(4);
  Inbox::Batch batch = inbox.Take(/*wait=*/true);
  EXPECT_THAT(batch.cancels, ElementsAre(2));
  EXPECT_EQ(batch.arrivals[0].first_id, 1U);
  EXPECT_THAT(batch.arrivals[0].samples, SizeIs(3));
  inbox.Cancel(2);
  inbox.Ended(std::vector<uint64_t>{1});
  inbox.Cancel(1);
  inbox.Cancel(3);
  batch = inbox.Take(/*wait=*/true);
  EXPECT_THAT(batch.cancels, ElementsAre(3));
  EXPECT_THAT(batch.arrivals, IsEmpty());
}

TEST(InboxTest, NothingIsAcceptedAfterItIsClosedOrHasFailed) {
  Inbox closed({8, 100});
  closed.Close();
  EXPECT_EQ(closed.Add(MakeArrival(1, 1)).status().message(), "the engine is shutting down");
  EXPECT_TRUE(closed.state().closed);
  Inbox failed({8, 100});
  failed.Fail(absl::InternalError("first"));
  failed.Fail(absl::InternalError("second"));
  EXPECT_EQ(failed.Add(MakeArrival(1, 1)).status().message(), "the engine has failed: first");
  EXPECT_EQ(failed.CheckOpen(1).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(failed.WaitForFailure().message(), "first");
  EXPECT_TRUE(failed.state().failed);
}

TEST(InboxTest, TheEndIsAskedForOnceAndForItsFirstReason) {
  Inbox inbox({8, 100});
  ASSERT_TRUE(inbox.Add(MakeArrival(1, 1)).ok());
  inbox.Close();
  inbox.EndAll(EndReason::kDrained);
  inbox.EndAll(EndReason::kCancelled);
  const Inbox::Batch batch = inbox.Take(/*wait=*/true);
  EXPECT_EQ(batch.end_all, EndReason::kDrained);
  EXPECT_THAT(batch.arrivals, SizeIs(1)) << "which the end is for, too";
  EXPECT_FALSE(inbox.Take(/*wait=*/false).end_all.has_value());
}

TEST(InboxTest, WaitsEndWithWhatTheyWaitFor) {
  Inbox inbox({8, 100});
  EXPECT_TRUE(inbox.WaitUntilAllEnded(SteadyTime::max())) << "there is none";
  ASSERT_TRUE(inbox.Add(MakeArrival(2, 1)).ok());
  EXPECT_FALSE(inbox.WaitUntilAllEnded(std::chrono::steady_clock::now()));
  EXPECT_FALSE(inbox.WaitForStop(std::chrono::nanoseconds(1)));
  std::thread ended([&] { EXPECT_TRUE(inbox.WaitUntilAllEnded(SteadyTime::max())); });
  inbox.Ended(std::vector<uint64_t>{1});
  inbox.Ended(std::vector<uint64_t>{2});
  ended.join();
  ASSERT_TRUE(inbox.Add(MakeArrival(1, 1)).ok());
  std::thread failed([&] { EXPECT_TRUE(inbox.WaitUntilAllEnded(SteadyTime::max())); });
  inbox.Fail(absl::InternalError("broken"));
  failed.join();
  std::thread stopped([&] { EXPECT_TRUE(inbox.WaitForStop(std::chrono::hours(1))); });
  inbox.Stop();
  stopped.join();
  inbox.Take(/*wait=*/true);
  EXPECT_THAT(inbox.Take(/*wait=*/true).arrivals, IsEmpty()) << "does not wait any more";
}

// Random calls from several threads against a loop that ends samples as it likes: no id and no
// place is lost or given twice.
TEST(InboxTest, ManyCallersAndOneLoop) {
  constexpr QueueLoad kMost{16, 200};
  Inbox inbox(kMost);
  std::vector<std::thread> callers;
  std::atomic<uint64_t> accepted = 0;
  for (uint32_t seed = 0; seed < 3; ++seed) {
    callers.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < 500; ++i) {
        const auto samples = static_cast<uint32_t>(random() % 3 + 1);
        const auto first = inbox.Add(MakeArrival(samples, static_cast<uint32_t>(random() % 30)));
        if (!first.ok()) {
          EXPECT_EQ(first.status().code(), absl::StatusCode::kResourceExhausted);
          std::this_thread::yield();
          continue;
        }
        accepted += samples;
        if (random() % 2 == 0) inbox.Cancel(*first + random() % samples);
        EXPECT_LE(inbox.state().waiting.samples, kMost.samples);
      }
    });
  }
  std::thread loop([&] {
    std::mt19937 random(9);
    std::map<uint64_t, uint64_t> waiting;  // tokens by id
    std::set<uint64_t> seen, cancelled;
    while (true) {
      Inbox::Batch batch = inbox.Take(/*wait=*/waiting.empty());
      for (const Arrival& arrival : batch.arrivals) {
        for (size_t i = 0; i < arrival.samples.size(); ++i) {
          EXPECT_TRUE(seen.insert(arrival.first_id + i).second);
          waiting[arrival.first_id + i] = arrival.samples[i].prompt.size();
        }
      }
      for (const uint64_t id : batch.cancels) {
        EXPECT_TRUE(seen.contains(id)) << "cancelled before it came";
        EXPECT_TRUE(cancelled.insert(id).second) << "cancelled twice";
      }
      std::vector<uint64_t> ended;
      QueueLoad left;
      for (const auto& [id, tokens] : waiting) {
        if (batch.end_all || random() % 2 == 0) {
          ended.push_back(id);
        } else {
          left = {left.samples + 1, left.tokens + tokens};
        }
      }
      for (const uint64_t id : ended) waiting.erase(id);
      inbox.SetScheduled(left);
      inbox.Ended(ended);
      if (inbox.stopped() && waiting.empty()) break;
    }
    EXPECT_EQ(seen.size(), accepted);
  });
  for (std::thread& caller : callers) caller.join();
  inbox.Close();
  EXPECT_TRUE(inbox.WaitUntilAllEnded(SteadyTime::max()));
  EXPECT_EQ(inbox.state().waiting.samples, 0U);
  EXPECT_EQ(inbox.state().waiting.tokens, 0U);
  inbox.EndAll(EndReason::kCancelled);
  inbox.Stop();
  loop.join();
}

}  // namespace
}  // namespace recurve
