// SPDX-License-Identifier: Apache-2.0
// A call's states as stories: rows of an event and of what it asks for.
#include "server/call/call_state.h"

#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

constexpr Engine::RequestId kFirstId = 7;  // of sample 0
constexpr SteadyTime kArrival{std::chrono::hours(1)};

SteadyTime At(int milliseconds) { return kArrival + Milliseconds(milliseconds); }

// Actions as words, in the order in which they are done: "write(0:ab.) status(OK)". A message is
// the sample and its text, with a full stop if it has the end.
std::string Words(const CallActions& actions) {
  std::vector<std::string> words;
  if (const auto& record = actions.record) {
    const std::string_view why = record->refusal ? RejectionName(*record->refusal) : record->reason;
    words.push_back(absl::StrCat("record(", absl::StatusCodeToString(record->code), ", ",
                                 std::string(why), ")"));
  }
  if (actions.abort) {
    words.push_back(*actions.abort == StallCause::kBuffer ? "abort(buffer)" : "abort(timeout)");
  }
  if (!actions.cancel.empty()) {
    words.push_back(absl::StrCat("cancel(", absl::StrJoin(actions.cancel, ","), ")"));
  }
  if (const auto& write = actions.write) {
    std::string text;
    for (const TokenEvent& token : write->delta.tokens) text += token.text;
    words.push_back(
        absl::StrCat("write(", write->delta.sample, ":", text, write->delta.finish ? ".)" : ")"));
  }
  if (actions.status) {
    words.push_back(absl::StrCat("status(", absl::StatusCodeToString(actions.status->code()), ")"));
  }
  if (actions.wake) words.push_back("wake");
  return absl::StrJoin(words, " ");
}

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
            for (size_t i = 0; i < text.size(); ++i) tokens[i].text = text.substr(i, 1);
            return call.TokensCame(sample, std::move(tokens), generated, At(at));
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

// ---- Whatever happens ----

// A random engine, client and egress thread around one call, which keep what the real ones promise.
class Walk {
 public:
  Walk(const CallOrigin& origin, const StreamOptions& limits, uint32_t seed)
      : random_(seed), streams_(origin.streams), call_(origin, limits) {}

  void Run() {
    for (int i = 0; i < 60; ++i) Move();
    // Everything that is still to come comes.
    patient_ = false;
    for (int i = 0; i < 1000 && !over(); ++i) Move();
    Take(call_.Next(now_));  // whoever was woken last
    EXPECT_EQ(statuses_, 1);
    EXPECT_EQ(records_, 1);
    EXPECT_TRUE(done_);
    EXPECT_EQ(call_.backlog(), 0U);
  }

 private:
  bool Chance(uint32_t in) { return random_() % in == 0; }
  bool over() const { return done_ && running_ == 0 && !awake_; }

  void Take(const CallActions& actions) {
    EXPECT_TRUE(!actions.write || (!writing_ && statuses_ == 0)) << "overlapping writes";
    writing_ |= actions.write && streams_;
    statuses_ += actions.status.has_value();
    records_ += actions.record.has_value();
    EXPECT_LE(statuses_, 1);
    EXPECT_FALSE(actions.status && writing_);
    EXPECT_FALSE(actions.abort && std::exchange(aborted_, true)) << "aborted twice";
    EXPECT_FALSE(!actions.cancel.empty() && std::exchange(cancelled_, true)) << "cancelled twice";
    awake_ |= actions.wake;
    CallState ahead = call_;
    if (!awake_) {
      EXPECT_EQ(Words(ahead.Next(now_)), "") << "nobody was woken for this";
    }
  }

  // What the engine's thread brings must not make it call the engine, nor the transport.
  void TakeFromEngine(const CallActions& actions) {
    EXPECT_TRUE(!actions.record && !actions.abort && actions.cancel.empty() && !actions.write &&
                !actions.status);
    Take(actions);
  }

  void Move() {
    now_ += Milliseconds(random_() % 20);
    switch (random_() % 8) {
      case 0:
        return Admit();
      case 1:
        return Tell();
      case 2:
        return Finish();
      case 3:
        if (writing_ && (!patient_ || Chance(3))) {
          writing_ = false;
          Take(call_.WriteDone(!gone_, now_, false));
        }
        return;
      case 4:
        if (!done_ && (aborted_ || cancelled_ || Chance(patient_ ? 20 : 1))) {
          gone_ = true;
          Take(call_.PeerGone(now_, false));
        }
        return;
      case 5:
        if (running_ > 0 && Chance(20)) {  // the engine is stuck
          running_ = 0;
          ended_.assign(ended_.size(), true);
          call_.EngineLost(now_);
          Take(call_.Next(now_));
        }
        return;
      case 6:
        if (statuses_ == 1 && !done_ && !patient_) {
          done_ = true;
          Take(call_.Done());
        }
        return;
      default:
        if (awake_) {
          awake_ = false;
          Take(call_.Next(now_));
        } else {
          Take(call_.Tick(now_));
        }
    }
  }

  void Admit() {
    if (submitted_) return;
    submitted_ = true;
    if (Chance(8)) return Take(call_.Refused(absl::InternalError("no"), Rejection::kFailed));
    running_ = 1 + random_() % 3;
    ended_.resize(running_);
    call_.Submitted(running_, 1);
    if (Chance(2)) Tell();
    Take(call_.Admitted({kFirstId, 5}));
  }

  void Tell() {
    if (running_ == 0) return;
    const auto sample = static_cast<uint32_t>(random_() % ended_.size());
    if (ended_[sample]) return;
    TakeFromEngine(call_.TokensCame(sample, std::vector<TokenEvent>(1 + random_() % 2), 1, now_));
  }

  void Finish() {
    if (running_ == 0 || (patient_ && !Chance(5))) return;
    const auto sample = static_cast<uint32_t>(random_() % ended_.size());
    if (ended_[sample]) return;
    ended_[sample] = true;
    --running_;
    recurve::Finish finish;
    finish.status = cancelled_  ? absl::CancelledError()
                    : Chance(5) ? absl::InternalError("not finite")
                                : absl::OkStatus();
    TakeFromEngine(call_.SampleEnded(sample, finish));
  }

  std::minstd_rand random_;
  const bool streams_;
  CallState call_;
  SteadyTime now_ = kArrival;
  bool patient_ = true;  // false: nothing is put off any more
  bool submitted_ = false, writing_ = false, awake_ = false, gone_ = false, done_ = false;
  bool aborted_ = false, cancelled_ = false;
  size_t running_ = 0;
  std::vector<bool> ended_;
  int statuses_ = 0, records_ = 0;
};

TEST_F(CallStateTest, EndsOnceIsRecordedOnceAndNeverSleepsOverSomething) {
  for (uint32_t seed = 1; seed <= 2000 && !HasFailure(); ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    origin_.streams = seed % 3 != 0;
    Walk(origin_, limits_, seed).Run();
  }
}

}  // namespace
}  // namespace recurve
