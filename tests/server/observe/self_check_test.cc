// SPDX-License-Identifier: Apache-2.0
// When a server that does not answer itself counts as deaf. On a clock of the test's.
#include "server/observe/self_check.h"

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <optional>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

SteadyTime At(int second) { return SteadyTime() + seconds(second); }

TEST(VerdictTest, NeedsTheWholeTimeoutWithoutAnAnswer) {
  Verdict verdict{seconds(30)};
  EXPECT_FALSE(verdict.Unanswered(At(100), At(100)));
  EXPECT_FALSE(verdict.Unanswered(At(115), At(129)));
  EXPECT_FALSE(verdict.deaf());
  EXPECT_TRUE(verdict.Unanswered(At(129), At(130)));
  EXPECT_TRUE(verdict.deaf());
  EXPECT_EQ(verdict.silence(At(140)), seconds(40));
  EXPECT_FALSE(verdict.Unanswered(At(135), At(140)));  // deaf already
  EXPECT_TRUE(verdict.Answered());
  EXPECT_FALSE(verdict.deaf());
  EXPECT_EQ(verdict.silence(At(150)), seconds(0));
}

TEST(VerdictTest, AnAnswerBeginsAnew) {
  Verdict verdict{seconds(30)};
  EXPECT_FALSE(verdict.Unanswered(At(0), At(15)));
  EXPECT_FALSE(verdict.Answered());
  EXPECT_FALSE(verdict.Unanswered(At(20), At(35)));
  EXPECT_FALSE(verdict.Unanswered(At(35), At(49)));
  EXPECT_TRUE(verdict.Unanswered(At(49), At(50)));
}

TEST(VerdictTest, OneQuestionIsNotEnough) {
  Verdict verdict{seconds(30)};
  EXPECT_FALSE(verdict.Unanswered(At(0), At(3600)));  // the process was stopped amid it
  EXPECT_FALSE(verdict.deaf());
  EXPECT_TRUE(verdict.Unanswered(At(3600), At(3600)));
}

// Answers as it is told, question by question, each time after `takes` of the test's clock.
class ScriptedProbe final : public Probe {
 public:
  struct Answer {
    bool ok;
    seconds takes;
  };

  absl::Status Ask(SteadyTime until) override {
    std::unique_lock lock(mutex_);
    asked_.push_back(std::chrono::duration_cast<seconds>(now_.load() - SteadyTime()).count());
    patience_ = until - now_.load();
    changed_.notify_all();
    changed_.wait(lock, [this] { return !answers_.empty() || cancelled_; });
    if (cancelled_) return absl::CancelledError("cancelled");
    const Answer answer = answers_.front();
    answers_.pop_front();
    now_ = now_.load() + answer.takes;
    return answer.ok ? absl::OkStatus() : absl::UnavailableError("nobody is there");
  }
  void Cancel() override {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    changed_.notify_all();
  }

  // Returns when all but the next question is answered.
  void Play(const std::vector<Answer>& answers) {
    std::unique_lock lock(mutex_);
    const size_t before = asked_.size();
    answers_.insert(answers_.end(), answers.begin(), answers.end());
    changed_.notify_all();
    const size_t first = before == 0 ? 1 : 0;
    changed_.wait(lock, [&] { return asked_.size() == before + first + answers.size(); });
  }
  std::vector<int64_t> asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  SteadyTime now() const { return now_; }
  std::chrono::nanoseconds patience() {
    const std::lock_guard lock(mutex_);
    return patience_;
  }

 private:
  std::atomic<SteadyTime> now_{SteadyTime()};
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<Answer> answers_;
  std::vector<int64_t> asked_;  // when, in seconds
  std::chrono::nanoseconds patience_{0};
  bool cancelled_ = false;
};

class SelfCheckTest : public testing::Test {
 protected:
  SelfCheckTest() {
    auto probe = std::make_unique<ScriptedProbe>();
    probe_ = probe.get();
    // The interval is waited for in real time: none here.
    check_ = std::make_unique<SelfCheck>(
        SelfCheckOptions{Milliseconds(0), seconds(30)}, std::move(probe),
        SelfCheck::Listeners{[this] { ++unanswered_; },
                             [this](bool deaf) { verdicts_.push_back(deaf); }},
        &log_, [clock = probe_] { return clock->now(); });
  }

  std::string LogText() {
    log_.Flush();
    std::fseek(log_file_.get(), 0, SEEK_SET);
    std::string text;
    for (int c = 0; (c = std::fgetc(log_file_.get())) != EOF;) text += static_cast<char>(c);
    return text;
  }

  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> log_file_{std::tmpfile(), &std::fclose};
  Log log_{LogFormat::kText, fileno(log_file_.get())};
  ScriptedProbe* probe_ = nullptr;
  std::atomic<int> unanswered_ = 0;
  std::vector<bool> verdicts_;  // of the check's thread: read between Play and the next
  std::unique_ptr<SelfCheck> check_;
};

TEST_F(SelfCheckTest, TurnsDeafAfterTheTimeoutAndReturns) {
  probe_->Play({{true, seconds(0)}, {true, seconds(5)}});
  EXPECT_EQ(probe_->patience(), seconds(15));
  EXPECT_EQ(unanswered_, 0);
  probe_->Play({{false, seconds(15)}, {false, seconds(14)}});
  EXPECT_EQ(unanswered_, 2);
  EXPECT_THAT(verdicts_, ElementsAre());
  probe_->Play({{false, seconds(1)}});
  EXPECT_THAT(verdicts_, ElementsAre(true));
  probe_->Play({{false, seconds(10)}, {true, seconds(0)}});
  EXPECT_EQ(unanswered_, 4);
  EXPECT_THAT(verdicts_, ElementsAre(true, false));
  const std::string log = LogText();
  EXPECT_THAT(log, HasSubstr(" self_check_unanswered seconds=15 error=\"nobody is there\""));
  EXPECT_THAT(log, HasSubstr(" deaf seconds=30 error=\"nobody is there\""));
  EXPECT_THAT(log, HasSubstr(" self_check_answered after_seconds=40"));
}

TEST_F(SelfCheckTest, ASlowAnswerIsAnAnswer) {
  probe_->Play({{true, seconds(14)}, {true, seconds(14)}, {true, seconds(14)}});
  EXPECT_EQ(unanswered_, 0);
  EXPECT_THAT(verdicts_, ElementsAre());
}

TEST_F(SelfCheckTest, EndsAmidAQuestionWithoutAVerdict) {
  probe_->Play({{false, seconds(29)}});
  check_.reset();
  EXPECT_EQ(unanswered_, 1);
  EXPECT_THAT(verdicts_, ElementsAre());
}

}  // namespace
}  // namespace recurve
