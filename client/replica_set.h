// SPDX-License-Identifier: Apache-2.0
// Which of several servers a call goes to, whether and when it is tried again, and which servers
// are left out for a while. Knows neither channels nor a clock: it is told of what happens, and
// when.
#ifndef RECURVE_CLIENT_REPLICA_SET_H_
#define RECURVE_CLIENT_REPLICA_SET_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace recurve::client {

enum class Balance {
  kRoundRobin,        // each in turn
  kLeastOutstanding,  // the one with the fewest of this client's calls, of several each in turn
  // The one that the prompt's beginning belongs to (rendezvous hashing), unless it has more than
  // kAffinityLoad times its share of the calls: then the next one that it would belong to.
  kPrefixAffinity,
};
inline constexpr double kAffinityLoad = 1.25;

// Thread-compatible.
class ReplicaSet {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = Time::duration;

  // After failure n in a row a server is left out for kFirstBackoff * 2^(n - 1), at most
  // kLongestBackoff, more or less a fifth; then it is asked whether it serves.
  static constexpr Duration kFirstBackoff = std::chrono::milliseconds(500);
  static constexpr Duration kLongestBackoff = std::chrono::seconds(10);
  // Between tries of a call that no other server can take: kFirstWait * 2^(n - 1), at most
  // kLongestWait, more or less a fifth.
  static constexpr Duration kFirstWait = std::chrono::milliseconds(200);
  static constexpr Duration kLongestWait = std::chrono::seconds(5);
  // Of the retry budget, that a call which ended well gives back.
  static constexpr double kBudgetEarned = 0.2;

  // One call's: how often it has been tried, and where.
  struct Tries {
    int most = 1;
    Time deadline = Time::max();
    int made = 0;
    std::set<std::string> names;
  };

  // What a try came to, as far as it says something of the server.
  struct Outcome {
    enum class Kind {
      kServed,
      kFull,    // refused; come again after `pushback`
      kFailed,  // not reached, or it does not serve now
      kUnfit,   // another server is needed for what this call wants
      kOther,   // nobody's fault but the call's
    };
    Kind kind = Kind::kServed;
    Duration pushback{0};
    bool never_again = false;  // the server said so
  };

  struct Choice {
    std::optional<std::string> name;  // the call has begun there
    Time ready;                       // without a name: when to choose again
  };

  // `budget`: most tries beyond the first ones of calls while none ends well. `seed`: of the
  // differences that keep clients from coming back all at once.
  ReplicaSet(Balance balance, uint32_t budget, uint64_t seed);

  // Those that were there before keep their state. Not empty.
  void SetNames(const std::vector<std::string>& names);

  // Turns go on behind this name; they begin with the first one. Clients of one call each would all
  // go there.
  void TakeTurnsBehind(const std::string& name) { last_ = name; }

  // Prefers servers that neither failed nor are full, and of those such as the call has not tried.
  // If all that work are full, a call that may be tried more than once waits for the first of them;
  // if none works, it goes to the one that is asked next. `key` as PrefixKey gives it, 0 without a
  // prompt.
  Choice Choose(uint64_t key, Tries& tries, Time now);

  // Of each call that has begun, once.
  void End(const std::string& name, const Outcome& outcome, Time now);

  // Whether a call that ended so may be tried again, which is then paid from the budget, and from
  // when on; nothing if that would be at its deadline or later.
  std::optional<Time> NextTry(const Tries& tries, const Outcome& outcome, Time now);

  // Servers to be asked now whether they serve; each must be answered by Checked.
  std::vector<std::string> TakeChecks(Time now);
  void Checked(const std::string& name, bool serves, Time now);

 private:
  struct Replica {
    uint64_t hash = 0;         // of its name
    bool listed = true;        // false: only kept for the calls that still run there
    uint32_t outstanding = 0;  // calls
    Time full_until = Time::min();
    uint32_t failures = 0;  // in a row
    Time check_at;          // with failures
    bool checking = false;
  };
  using Entry = std::pair<const std::string, Replica>;

  bool Works(const Replica& replica, Time now) const {
    return replica.failures == 0 && replica.full_until <= now;
  }
  Entry* Pick(const std::vector<Entry*>& candidates, uint64_t key);
  Entry* PickByPrefix(const std::vector<Entry*>& candidates, uint64_t key) const;
  Entry* FirstFull();
  Entry* FirstFailed();
  Choice Begin(Entry& entry, Tries& tries, Time now) const;
  void Fail(Replica& replica, Time now);
  Duration Backoff(Duration first, Duration longest, uint32_t times);

  const Balance balance_;
  const double most_budget_;
  double budget_;
  std::mt19937_64 random_;
  std::map<std::string, Replica> replicas_;
  std::string last_;  // the name that was chosen last, from which turns go on
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_REPLICA_SET_H_
