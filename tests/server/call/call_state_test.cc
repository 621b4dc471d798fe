// SPDX-License-Identifier: Apache-2.0
// A call's states as stories: rows of an event and of what it asks for.
#include "server/call/call_state.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/call/call_state_words.h"

namespace recurve {
namespace {

struct Event {
  std::string name;
  std::function<CallActions(CallState&)> happen;
};

Event Submitted(uint32_t samples) {
  return {"Submitted", [=](CallState& call) {
            call.Submitted(samples, /*seed=*/1);
            return CallActions();
          }};
}
Event Admitted() {
  return {"Admitted", [](CallState& call) { return call.Admitted({kFirstId, 5}); }};
}
Event Refused() {
  return {"Refused", [](CallState& call) {
            return call.Refused(absl::InvalidArgumentError("no"), Rejection::kInvalid);
          }};
}
// A token a letter. `generated`: so far, if not only these.
Event Tokens(uint32_t sample, const std::string& text, int at = 0, uint32_t generated = 1) {
  return {"Tokens", [=](CallState& call) {
            std::vector<TokenEvent> tokens(text.size());
            for (size_t i = 0; i < text.size(); ++i) tokens[i].text = {&text[i], 1};
            return call.TokensCame(sample, tokens, generated, At(at));
          }};
}
Event Ended(uint32_t sample, const absl::Status& status = absl::OkStatus()) {
  return {"Ended", [=](CallState& call) {
            Finish finish;
            finish.status = status;
            return call.SampleEnded(sample, finish);
          }};
}
Event Lost() {
  return {"Lost", [](CallState& call) {
            call.EngineLost(At(0));
            return CallActions();
          }};
}
Event Next(int at = 0) {
  return {"Next", [=](CallState& call) { return call.Next(At(at)); }};
}
Event Tick(int at) {
  return {"Tick", [=](CallState& call) { return call.Tick(At(at)); }};
}
Event Written(bool ok = true) {
  return {"Written", [=](CallState& call) { return call.WriteDone(ok, At(0), /*cut=*/false); }};
}
Event Gone(int at = 0, bool cut = false) {
  return {"Gone", [=](CallState& call) { return call.PeerGone(At(at), cut); }};
}
Event Done() {
  return {"Done", [](CallState& call) { return call.Done(); }};
}

using Story = std::vector<std::pair<Event, std::string>>;

class CallStateTest : public testing::Test {
 protected:
  CallStateTest() {
    origin_.arrival = kArrival;
    limits_.stall_timeout = Milliseconds(100);
    limits_.buffer_tokens = 2;
  }

  // What happens to one call.
  void Play(const Story& story) {
    CallState call(origin_, limits_);
    for (size_t row = 0; row < story.size(); ++row) {
      const auto& [event, expected] = story[row];
      EXPECT_EQ(Words(event.happen(call)), expected) << "row " << row << ": " << event.name;
    }
  }

  CallOrigin origin_;
  StreamOptions limits_;
};

// A stream of two samples whose first message is being written.
Story Writing() {
  return {
      {Submitted(2), ""}, {Admitted(), "wake"}, {Tokens(0, "a"), "wake"}, {Next(), "write(0:a)"}};
}

Story operator+(Story story, const Story& more) {
  story.insert(story.end(), more.begin(), more.end());
  return story;
}

// ---- The table in call_state.h ----

TEST_F(CallStateTest, NothingIsToBeDoneBeforeAdmission) {
  Play({{Next(), ""}, {Gone(), "wake"}, {Next(), ""}});
  Play({{Submitted(1), ""},
        {Tokens(0, "a"), "wake"},
        {Next(), ""},
        {Admitted(), "wake"},
        {Next(), "write(0:a)"}});
}

TEST_F(CallStateTest, RefusedCallEndsWithTheRefusal) {
  Play({{Refused(), "wake"},
        {Next(), "record(INVALID_ARGUMENT, invalid) status(INVALID_ARGUMENT)"},
        {Done(), ""}});
  Play({{Gone(), "wake"},
        {Refused(), "wake"},
        {Next(), "record(CANCELLED, invalid) status(CANCELLED)"},
        {Done(), ""}});
}

TEST_F(CallStateTest, StreamWritesTheNextSamplesNewsAndEndsAfterTheLast) {
  Play(Writing() + Story{{Tokens(0, "b"), ""},
                         {Tokens(1, "x"), ""},
                         {Next(), ""},
                         {Written(), "wake"},
                         {Next(), "write(1:x)"},
                         {Written(), "wake"},
                         {Next(), "write(0:b)"},
                         {Written(), ""},
                         {Next(), ""},
                         {Ended(1), "wake"},
                         {Next(), "write(1:.)"},
                         {Tokens(0, "c"), ""},
                         {Ended(0), "wake"},
                         {Next(), ""},
                         {Written(), "wake"},
                         {Next(), "write(0:c.)"},
                         {Written(), "wake"},
                         {Next(), "record(OK, length) status(OK)"},
                         {Done(), ""}});
}

TEST_F(CallStateTest, CompleteAnswersAtOnceWhenAllHaveEnded) {
  origin_.streams = false;
  Play({{Submitted(2), ""},
        {Admitted(), "wake"},
        {Tokens(0, "abc"), ""},  // the buffer is not for it
        {Tokens(1, "xyz"), ""},
        {Next(), ""},
        {Ended(1), "wake"},
        {Next(), ""},
        {Ended(0), "wake"},
        {Next(), "write(0:abc.) status(OK)"},
        {Next(), ""},
        {Done(), "record(OK, length)"}});
}

TEST_F(CallStateTest, StalledClientIsAbortedAndTheStatusWaitsForItToGo) {
  const Story stalled = Writing() + Story{{Tokens(1, "xyz"), "wake"}};
  const Story aborted = stalled + Story{{Next(), "abort(buffer) cancel(7,8)"}, {Next(), ""}};
  const Story end = {{Next(), "status(CANCELLED)"},
                     {Ended(0, absl::CancelledError()), "wake"},
                     {Next(), ""},
                     {Ended(1, absl::CancelledError()), "wake"},
                     {Next(), "record(CANCELLED, slow_reader)"}};
  Play(aborted + Story{{Gone(), "wake"}, {Next(), ""}, {Written(false), "wake"}} + end);
  Play(aborted + Story{{Written(true), "wake"}, {Next(), ""}, {Gone(), "wake"}} + end);
}

TEST_F(CallStateTest, GoneClientEndsWithItsStatusWhenTheWriteHasEnded) {
  Play(Writing() + Story{{Tokens(0, "b"), ""},
                         {Gone(), "cancel(7,8) wake"},
                         {Next(), ""},
                         {Tokens(0, "c"), ""},
                         {Written(), "wake"},
                         {Next(), "status(CANCELLED)"},
                         {Ended(0), "wake"},
                         {Ended(1), "wake"},
                         {Next(), "record(CANCELLED, cancelled)"}});
}

// ---- Who is too slow ----

TEST_F(CallStateTest, OnlyAWriteInProgressFillsTheBuffer) {
  Play({{Submitted(1), ""},
        {Admitted(), "wake"},
        {Tokens(0, "abcd"), "wake"},
        {Next(), "write(0:abcd)"},
        {Tokens(0, "ef"), ""},
        {Tokens(0, "g"), "wake"},
        {Next(), "abort(buffer) cancel(7)"}});
}

TEST_F(CallStateTest, BufferIsOfAllSamples) {
  Play(Writing() + Story{{Tokens(0, "b"), ""},
                         {Tokens(1, "x"), ""},
                         {Tokens(0, "c"), "wake"},
                         {Next(), "abort(buffer) cancel(7,8)"}});
}

TEST_F(CallStateTest, WriteMayTakeTheStallTimeout) {
  const Story written_at_50 = {{Submitted(1), ""},       {Admitted(), "wake"},
                               {Tick(1000), ""},  // the engine may take its time
                               {Tokens(0, "a"), "wake"}, {Next(1050), "write(0:a)"},
                               {Tick(1149), ""}};
  Play(written_at_50 + Story{{Tick(1150), "abort(timeout) cancel(7)"}, {Tick(2000), ""}});
  Play(written_at_50 + Story{{Written(), ""}, {Tick(1150), ""}});
}

TEST_F(CallStateTest, StallAfterTheEnginesEndIsASlowReader) {
  Play({{Submitted(1), ""},
        {Admitted(), "wake"},
        {Tokens(0, "a"), "wake"},
        {Next(), "write(0:a)"},
        {Ended(0), "wake"},
        {Tick(100), "abort(timeout)"},
        {Gone(), "wake"},
        {Written(false), "wake"},
        {Next(), "record(CANCELLED, slow_reader) status(CANCELLED)"}});
}

TEST_F(CallStateTest, AnswerThatIsNeverTakenIsASlowReader) {
  origin_.streams = false;
  Play({{Submitted(1), ""},
        {Admitted(), "wake"},
        {Ended(0), "wake"},
        {Next(30), "write(0:.) status(OK)"},
        {Tick(129), ""},
        {Tick(130), "abort(timeout)"},
        {Tick(300), ""},
        {Gone(), "wake"},
        {Done(), "record(CANCELLED, slow_reader)"}});
}

TEST_F(CallStateTest, ClientThatHasLeftIsNotSlow) {
  const Story ended = {{Written(false), "wake"},
                       {Ended(0), "wake"},
                       {Ended(1), "wake"},
                       {Next(), "record(CANCELLED, cancelled) status(CANCELLED)"}};
  Play(Writing() + Story{{Gone(), "cancel(7,8) wake"}, {Tick(1000), ""}} + ended);
  // Nor one that leaves before anything came of its slowness.
  Play(Writing() + Story{{Tokens(1, "xyz"), "wake"}, {Gone(), "cancel(7,8) wake"}, {Next(), ""}} +
       ended);
}

// ---- With what a call ends whose client is gone ----

TEST_F(CallStateTest, CancellationNearTheDeadlineIsTheDeadlines) {
  origin_.deadline = At(1000);
  const Story refused = {{Refused(), "wake"}};
  Play(Story{{Gone(899), "wake"}} + refused +
       Story{{Next(), "record(CANCELLED, invalid) status(CANCELLED)"}});
  Play(Story{{Gone(900), "wake"}} + refused +
       Story{{Next(), "record(DEADLINE_EXCEEDED, invalid) status(DEADLINE_EXCEEDED)"}});
  // But what we abort ourselves is no deadline, whenever that is.
  Play(Writing() + Story{{Tick(900), "abort(timeout) cancel(7,8)"},
                         {Written(false), "wake"},
                         {Gone(1000), "wake"},
                         {Next(), "status(CANCELLED)"}});
}

TEST_F(CallStateTest, WhatTheServersEndCutsIsUnavailable) {
  Play({{Submitted(1), ""},
        {Admitted(), "wake"},
        {Gone(0, /*cut=*/true), "cancel(7) wake"},
        {Next(), "status(UNAVAILABLE)"},
        {Ended(0, absl::CancelledError()), "wake"},
        {Next(), "record(UNAVAILABLE, unavailable)"}});
}

TEST_F(CallStateTest, AnswerThatTheClientDidNotWaitForIsCancelled) {
  origin_.streams = false;
  Play({{Submitted(1), ""},
        {Admitted(), "wake"},
        {Ended(0), "wake"},
        {Next(), "write(0:.) status(OK)"},
        {Gone(), "wake"},
        {Done(), "record(CANCELLED, cancelled)"}});
}

TEST_F(CallStateTest, IsWantedUntilTheClientLeavesOrTheDeadlinePasses) {
  origin_.deadline = At(1000);
  CallState call(origin_, limits_);
  EXPECT_TRUE(call.Wanted(At(999)).ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(call.Wanted(At(1000))));
  call.PeerGone(At(10), /*cut=*/false);
  EXPECT_TRUE(absl::IsCancelled(call.Wanted(At(10))));
}

// ---- Samples that fail ----

TEST_F(CallStateTest, OneErrorCancelsTheOthersOnceAndEndsTheCall) {
  Play({{Submitted(3), ""},
        {Admitted(), "wake"},
        {Tokens(0, "a"), "wake"},
        {Next(), "write(0:a)"},
        {Ended(1), "wake"},
        {Ended(2, absl::InternalError("not finite")), "wake"},
        {Next(), "cancel(7)"},  // though a message is being written
        {Next(), ""},
        {Written(), "wake"},
        {Next(), "write(1:.)"},
        {Ended(0, absl::CancelledError()), "wake"},
        {Written(), "wake"},
        {Next(), "record(INTERNAL, internal) status(INTERNAL)"}});
}

TEST_F(CallStateTest, ReasonOfAnErrorIsItsCodes) {
  const std::pair<absl::Status, const char*> ends[] = {
      {absl::ResourceExhaustedError("queue_timeout_ms has passed"),
       "record(RESOURCE_EXHAUSTED, queue_timeout) status(RESOURCE_EXHAUSTED)"},
      {absl::DeadlineExceededError(""),
       "record(DEADLINE_EXCEEDED, deadline_exceeded) status(DEADLINE_EXCEEDED)"},
      {absl::UnavailableError(""), "record(UNAVAILABLE, unavailable) status(UNAVAILABLE)"},
      {absl::CancelledError(""), "record(CANCELLED, cancelled) status(CANCELLED)"},
      {absl::InternalError(""), "record(INTERNAL, internal) status(INTERNAL)"}};
  for (const auto& [status, expected] : ends) {
    Play(
        {{Submitted(1), ""}, {Admitted(), "wake"}, {Ended(0, status), "wake"}, {Next(), expected}});
  }
}

TEST_F(CallStateTest, WhoeverLeftBeforeAdmissionIsCancelledAtIt) {
  Play({{Submitted(2), ""},
        {Gone(), "wake"},
        {Ended(0), "wake"},
        {Admitted(), "cancel(8) wake"},
        {Next(), "status(CANCELLED)"},
        {Done(), ""},
        {Ended(1, absl::CancelledError()), "wake"},
        {Next(), "record(CANCELLED, cancelled)"},
        {Next(), ""}});
}

// ---- An engine that is stuck ----

TEST_F(CallStateTest, LostEngineEndsWhatHasNotEnded) {
  Play({{Submitted(2), ""},
        {Lost(), ""},  // the engine refuses it, or it is admitted yet
        {Admitted(), "wake"},
        {Tokens(0, "a"), "wake"},
        {Ended(1), "wake"},
        {Lost(), ""},
        {Next(), "write(1:.)"},
        {Written(), "wake"},
        {Next(), "write(0:a)"},
        {Written(), "wake"},
        {Next(), "record(UNAVAILABLE, unavailable) status(UNAVAILABLE)"},
        {Ended(0), ""},  // as it was about to say when it was lost
        {Lost(), ""},
        {Next(), ""}});
}

TEST_F(CallStateTest, LostEngineEndsAnAnswerAndTheRecordOfWhoeverHasLeft) {
  Play(Writing() + Story{{Gone(), "cancel(7,8) wake"},
                         {Written(false), "wake"},
                         {Next(), "status(CANCELLED)"},
                         {Done(), ""},
                         {Lost(), ""},
                         {Next(), "record(CANCELLED, cancelled)"}});
  origin_.streams = false;
  Play({{Submitted(1), ""},
        {Admitted(), "wake"},
        {Tokens(0, "a"), ""},
        {Lost(), ""},
        {Next(), "status(UNAVAILABLE)"},
        {Done(), "record(UNAVAILABLE, unavailable)"}});
}

// ---- Times ----

TEST_F(CallStateTest, TimesAreSinceArrivalAndSinceTheTokensBefore) {
  CallState call(origin_, limits_);
  call.Submitted(2, 1);
  call.Admitted({kFirstId, 5});
  TokenTimes times = Tokens(0, "a", 30, 1).happen(call).observe;
  EXPECT_EQ(times.first, Milliseconds(30));
  EXPECT_FALSE(times.gap.has_value());
  times = Tokens(1, "x", 35, 1).happen(call).observe;  // the first of its sample
  EXPECT_FALSE(times.first.has_value());
  EXPECT_FALSE(times.gap.has_value());
  times = Tokens(0, "b", 40, 4).happen(call).observe;  // two were held back till now
  EXPECT_EQ(times.gap, Milliseconds(10));
  EXPECT_EQ(times.tokens, 3U);
  EXPECT_EQ(call.backlog(), 3U);

  const CallActions actions = call.Next(At(41));
  EXPECT_EQ(actions.write->waited, Milliseconds(6));  // sample 1: its turn after sample 0
  EXPECT_EQ(call.backlog(), 2U);
  call.PeerGone(At(50), false);
  EXPECT_EQ(call.backlog(), 0U);
}

}  // namespace
}  // namespace recurve
