// SPDX-License-Identifier: Apache-2.0
// A call's states whatever happens: random events in any order that the engine, the transport and
// the client may bring.
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/call/call_state.h"
#include "tests/server/call/call_state_words.h"

namespace recurve {
namespace {

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

TEST(CallStateWalkTest, EndsOnceIsRecordedOnceAndNeverSleepsOverSomething) {
  CallOrigin origin;
  origin.arrival = kArrival;
  StreamOptions limits;
  limits.stall_timeout = Milliseconds(100);
  limits.buffer_tokens = 2;
  for (uint32_t seed = 1; seed <= 2000 && !HasFailure(); ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    origin.streams = seed % 3 != 0;
    Walk(origin, limits, seed).Run();
  }
}

}  // namespace
}  // namespace recurve
