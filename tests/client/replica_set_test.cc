// SPDX-License-Identifier: Apache-2.0
#include "client/replica_set.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"
#include "client/hash.h"
#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using Kind = ReplicaSet::Outcome::Kind;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr ReplicaSet::Outcome kServed{Kind::kServed};
constexpr ReplicaSet::Outcome kFailed{Kind::kFailed};

ReplicaSet::Outcome Full(ReplicaSet::Duration pushback) { return {Kind::kFull, pushback}; }

class ReplicaSetTest : public testing::Test {
 protected:
  void Make(Balance balance, uint32_t budget = 100) {
    set_.emplace(balance, budget, 1);
    set_->SetNames({"a", "b", "c"});
  }
  // Of a call that may be tried `most` times; "" if it must wait.
  std::string Choose(uint64_t key = 0, int most = 3) {
    ReplicaSet::Tries tries;
    tries.most = most;
    return set_->Choose(key, tries, now_).name.value_or("");
  }
  std::string Turns(int calls) {
    std::string names;
    for (int i = 0; i < calls; ++i) names += Choose();
    return names;
  }
  void Call(const std::string& name, const ReplicaSet::Outcome& outcome) {
    ReplicaSet::Tries tries;
    for (const char* other : {"a", "b", "c"}) {
      if (other != name) tries.names.insert(other);
    }
    ASSERT_EQ(set_->Choose(0, tries, now_).name, name);
    set_->End(name, outcome, now_);
  }

  std::optional<ReplicaSet> set_;
  ReplicaSet::Time now_{seconds(1000)};
};

TEST_F(ReplicaSetTest, RoundRobinTakesTurns) {
  Make(Balance::kRoundRobin);
  const std::string turns = Turns(7);
  EXPECT_EQ(turns, "abcabca");
}

TEST_F(ReplicaSetTest, LeastOutstandingGoesWhereFewestAre) {
  Make(Balance::kLeastOutstanding);
  const std::string turns = Turns(6);
  EXPECT_EQ(turns, "abcabc");
  set_->End("b", kServed, now_);
  set_->End("b", kServed, now_);
  EXPECT_EQ(Turns(2), "bb");
}

TEST_F(ReplicaSetTest, PrefixesStayTogetherUnlessTheirServerHasTooMany) {
  Make(Balance::kPrefixAffinity);
  std::map<std::string, int> homes;
  for (uint64_t key = 1; key <= 300; ++key) {
    const std::string home = Choose(MixBits(key));
    set_->End(home, kServed, now_);
    EXPECT_EQ(Choose(MixBits(key)), home);
    set_->End(home, kServed, now_);
    ++homes[home];
  }
  for (const auto& [name, keys] : homes) EXPECT_NEAR(keys, 100, 30) << name;
  std::map<std::string, int> calls;  // all of one prefix
  for (int i = 0; i < 30; ++i) ++calls[Choose(7)];
  EXPECT_EQ(calls.size(), 3U);
  for (const auto& [name, count] : calls) EXPECT_LE(count, 13) << name;
}

TEST_F(ReplicaSetTest, AServerThatGoesMovesItsPrefixesAlone) {
  Make(Balance::kPrefixAffinity);
  std::map<uint64_t, std::string> homes;
  for (uint64_t key = 1; key <= 200; ++key) {
    homes[key] = Choose(key);
    set_->End(homes[key], kServed, now_);
  }
  set_->SetNames({"a", "c"});
  for (const auto& [key, home] : homes) {
    const std::string now = Choose(key);
    set_->End(now, kServed, now_);
    if (home != "b") {
      EXPECT_EQ(now, home);
    }
  }
}

TEST_F(ReplicaSetTest, AFullServerIsLeftOutUntilItsTime) {
  Make(Balance::kRoundRobin);
  Call("b", Full(milliseconds(300)));
  EXPECT_EQ(Turns(3), "cac");
  now_ += milliseconds(299);
  EXPECT_EQ(Turns(2), "ac");
  now_ += milliseconds(1);
  EXPECT_EQ(Turns(3), "abc");
}

TEST_F(ReplicaSetTest, WhenAllAreFullCallsWaitForTheFirst) {
  Make(Balance::kRoundRobin);
  Call("a", Full(milliseconds(300)));
  Call("b", Full(milliseconds(100)));
  Call("c", Full(milliseconds(200)));
  ReplicaSet::Tries tries;
  tries.most = 2;
  const ReplicaSet::Choice choice = set_->Choose(0, tries, now_);
  EXPECT_FALSE(choice.name.has_value());
  EXPECT_EQ(choice.ready, now_ + milliseconds(100));
  EXPECT_EQ(tries.made, 0);
  EXPECT_EQ(Choose(0, 1), "b") << "a call with one try does not wait";
}

TEST_F(ReplicaSetTest, AFailedServerIsLeftOutUntilItServes) {
  Make(Balance::kRoundRobin);
  Call("a", kFailed);
  EXPECT_THAT(set_->TakeChecks(now_), IsEmpty());
  ReplicaSet::Duration longest{0};
  for (int failure = 1; failure <= 8; ++failure) {
    const auto before = now_;
    std::vector<std::string> due;
    while ((due = set_->TakeChecks(now_)).empty()) {
      EXPECT_NE(Choose(), "a");
      now_ += milliseconds(10);
    }
    EXPECT_THAT(due, ElementsAre("a"));
    EXPECT_THAT(set_->TakeChecks(now_), IsEmpty()) << "it has been asked";
    const double expected = std::min(10.0, 0.5 * std::exp2(failure - 1));
    const double waited = std::chrono::duration<double>(now_ - before).count();
    EXPECT_GE(waited, 0.79 * expected);
    EXPECT_LE(waited, 1.21 * expected + 0.01);
    longest = std::max(longest, now_ - before);
    set_->Checked("a", false, now_);
  }
  EXPECT_GE(longest, seconds(8));
  now_ += seconds(20);
  EXPECT_THAT(set_->TakeChecks(now_), ElementsAre("a"));
  set_->Checked("a", true, now_);
  const std::string turns = Turns(3);
  EXPECT_NE(turns.find('a'), std::string::npos);
}

TEST_F(ReplicaSetTest, WhenAllHaveFailedCallsGoToTheOneThatIsAskedNext) {
  Make(Balance::kRoundRobin);
  Call("b", kFailed);
  now_ += seconds(1);
  for (const char* name : {"a", "c"}) Call(name, kFailed);
  EXPECT_EQ(Choose(), "b");
  set_->End("b", kServed, now_);
  EXPECT_EQ(Turns(2), "bb") << "the others stay out";
}

TEST_F(ReplicaSetTest, CallsThatFailTogetherAreOneFailure) {
  Make(Balance::kRoundRobin);
  for (int i = 0; i < 30; ++i) Choose();
  for (int i = 0; i < 10; ++i) set_->End("a", kFailed, now_);
  now_ += milliseconds(601);
  EXPECT_THAT(set_->TakeChecks(now_), ElementsAre("a"));
}

TEST_F(ReplicaSetTest, TriesAreCountedAndPaidFor) {
  Make(Balance::kRoundRobin, 3);
  ReplicaSet::Tries tries;
  tries.most = 3;
  tries.made = 1;
  tries.names = {"a"};
  EXPECT_EQ(set_->NextTry(tries, kFailed, now_), now_) << "another server is there";
  tries.names = {"a", "b", "c"};
  const auto wait = *set_->NextTry(tries, kFailed, now_) - now_;
  EXPECT_GE(wait, milliseconds(160));
  EXPECT_LE(wait, milliseconds(240));
  tries.made = 2;
  EXPECT_GE(*set_->NextTry(tries, kFailed, now_) - now_, milliseconds(320));
  EXPECT_EQ(set_->NextTry(tries, kFailed, now_), std::nullopt) << "the budget is spent";
  EXPECT_EQ(set_->NextTry(tries, Full(seconds(1)), now_), now_) << "the server wants it back";
  for (int i = 0; i < 5; ++i) Call("a", kServed);
  EXPECT_NE(set_->NextTry(tries, kFailed, now_), std::nullopt) << "five calls earn a try";
  EXPECT_EQ(set_->NextTry(tries, kFailed, now_), std::nullopt);
  tries.made = 3;
  EXPECT_EQ(set_->NextTry(tries, Full(seconds(1)), now_), std::nullopt);
}

TEST_F(ReplicaSetTest, SomeEndsAreForGood) {
  Make(Balance::kRoundRobin);
  ReplicaSet::Tries tries;
  tries.most = 5;
  tries.made = 1;
  tries.names = {"a"};
  EXPECT_EQ(set_->NextTry(tries, kServed, now_), std::nullopt);
  EXPECT_EQ(set_->NextTry(tries, {Kind::kOther}, now_), std::nullopt);
  EXPECT_EQ(set_->NextTry(tries, {.kind = Kind::kFailed, .never_again = true}, now_), std::nullopt);
  EXPECT_EQ(set_->NextTry(tries, {Kind::kUnfit}, now_), now_);
  tries.names = {"a", "b", "c"};
  EXPECT_EQ(set_->NextTry(tries, {Kind::kUnfit}, now_), std::nullopt) << "no other is left";
  tries.deadline = now_ + milliseconds(100);
  EXPECT_EQ(set_->NextTry(tries, kFailed, now_), std::nullopt) << "the wait would be longer";
}

TEST_F(ReplicaSetTest, NamesComeAndGoUnderRunningCalls) {
  Make(Balance::kRoundRobin);
  EXPECT_EQ(Turns(2), "ab");
  set_->SetNames({"b", "d"});
  EXPECT_EQ(Turns(3), "dbd");
  set_->End("a", kFailed, now_);
  set_->SetNames({"a", "b", "d"});
  EXPECT_EQ(Choose(), "a") << "a server that comes back is a new one";
}

// What a ReplicaSet remembers of a server, told in the plainest way.
struct Naive {
  uint32_t outstanding = 0;
  ReplicaSet::Time full_until = ReplicaSet::Time::min();
  bool failed = false;
};

// Random operations beside a naive model: nobody is chosen who should not be.
TEST(ReplicaSetLoadTest, ChoicesAreThoseOfANaiveModel) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937_64 random(seed);
    const auto draw = [&random](uint64_t below) { return random() % below; };
    const auto balance = static_cast<Balance>(draw(3));
    ReplicaSet set(balance, 100, seed);
    std::map<std::string, Naive> naive;
    std::vector<std::string> names, running;
    for (uint64_t i = 0; i <= draw(5); ++i) names.push_back(absl::StrCat("server ", i));
    for (const std::string& name : names) naive[name] = {};
    set.SetNames(names);
    ReplicaSet::Time now{seconds(1)};
    for (int step = 0; step < 300; ++step) {
      now += milliseconds(draw(200));
      for (const std::string& name : set.TakeChecks(now)) {
        ASSERT_TRUE(naive[name].failed);
        const bool serves = draw(2) == 0;
        set.Checked(name, serves, now);
        naive[name].failed = !serves;
      }
      if (!running.empty() && draw(2) == 0) {
        const size_t index = draw(running.size());
        const std::string name = running[index];
        running.erase(running.begin() + static_cast<ptrdiff_t>(index));
        Naive& server = naive[name];
        --server.outstanding;
        const auto kind = static_cast<Kind>(draw(5));
        const milliseconds pushback(draw(1000));
        set.End(name, {kind, pushback}, now);
        if (kind == Kind::kServed) server.full_until = ReplicaSet::Time::min();
        if (kind == Kind::kFull) server.full_until = std::max(server.full_until, now + pushback);
        if (kind == Kind::kServed || kind == Kind::kFull) server.failed = false;
        if (kind == Kind::kFailed) server.failed = true;
        continue;
      }
      ReplicaSet::Tries tries;
      tries.most = 1 + static_cast<int>(draw(2));
      if (draw(2) == 0) tries.names.insert(names[draw(names.size())]);
      const std::set<std::string> tried = tries.names;
      const ReplicaSet::Choice choice = set.Choose(draw(4), tries, now);
      std::vector<std::string> working, fresh;
      uint32_t fewest = UINT32_MAX;
      ReplicaSet::Time first_full = ReplicaSet::Time::max();
      for (const auto& [name, server] : naive) {
        if (!server.failed) first_full = std::min(first_full, server.full_until);
        if (server.failed || server.full_until > now) continue;
        working.push_back(name);
        if (!tried.contains(name)) fresh.push_back(name);
      }
      const auto& candidates = fresh.empty() ? working : fresh;
      for (const std::string& name : candidates) fewest = std::min(fewest, naive[name].outstanding);
      if (!choice.name) {
        ASSERT_THAT(working, IsEmpty());
        ASSERT_GT(tries.most, 1);
        ASSERT_EQ(choice.ready, first_full);
        continue;
      }
      Naive& chosen = naive[*choice.name];
      if (!candidates.empty()) {
        ASSERT_THAT(candidates, testing::Contains(*choice.name));
        if (balance == Balance::kLeastOutstanding) {
          ASSERT_EQ(chosen.outstanding, fewest);
        }
      } else if (first_full < ReplicaSet::Time::max()) {
        ASSERT_EQ(chosen.full_until, first_full);
      } else {
        ASSERT_TRUE(chosen.failed);
      }
      ++chosen.outstanding;
      running.push_back(*choice.name);
      ASSERT_EQ(tries.made, 1);
    }
  }
}

}  // namespace
}  // namespace recurve::client
