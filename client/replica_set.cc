// SPDX-License-Identifier: Apache-2.0
#include "client/replica_set.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "client/hash.h"

namespace recurve::client {

ReplicaSet::ReplicaSet(Balance balance, uint32_t budget, uint64_t seed)
    : balance_(balance), most_budget_(budget), budget_(budget), random_(seed) {}

void ReplicaSet::SetNames(const std::vector<std::string>& names) {
  for (auto& [name, replica] : replicas_) replica.listed = false;
  for (const std::string& name : names) {
    Replica& replica = replicas_[name];
    replica.hash = HashOf(name);
    replica.listed = true;
  }
  std::erase_if(replicas_, [](const Entry& entry) {
    return !entry.second.listed && entry.second.outstanding == 0;
  });
}

ReplicaSet::Choice ReplicaSet::Choose(uint64_t key, Tries& tries, Time now) {
  std::vector<Entry*> fresh, working;
  for (Entry& entry : replicas_) {
    if (!entry.second.listed || !Works(entry.second, now)) continue;
    working.push_back(&entry);
    if (!tries.names.contains(entry.first)) fresh.push_back(&entry);
  }
  if (!working.empty()) return Begin(*Pick(fresh.empty() ? working : fresh, key), tries, now);
  if (Entry* const full = FirstFull(); full != nullptr) {
    if (tries.most > 1) return {std::nullopt, full->second.full_until};
    return Begin(*full, tries, now);
  }
  return Begin(*FirstFailed(), tries, now);
}

ReplicaSet::Choice ReplicaSet::Begin(Entry& entry, Tries& tries, Time now) const {
  ++entry.second.outstanding;
  ++tries.made;
  tries.names.insert(entry.first);
  return {entry.first, now};
}

ReplicaSet::Entry* ReplicaSet::Pick(const std::vector<Entry*>& candidates, uint64_t key) {
  if (balance_ == Balance::kPrefixAffinity && key != 0) return PickByPrefix(candidates, key);
  // In the order of turns: those behind the last one first.
  std::vector<Entry*> turns = candidates;
  const auto behind = std::find_if(turns.begin(), turns.end(),
                                   [this](const Entry* entry) { return entry->first > last_; });
  std::rotate(turns.begin(), behind, turns.end());
  Entry* chosen = turns.front();
  if (balance_ != Balance::kRoundRobin) {
    chosen = *std::min_element(turns.begin(), turns.end(), [](const Entry* a, const Entry* b) {
      return a->second.outstanding < b->second.outstanding;
    });
  }
  last_ = chosen->first;
  return chosen;
}

ReplicaSet::Entry* ReplicaSet::PickByPrefix(const std::vector<Entry*>& candidates,
                                            uint64_t key) const {
  uint64_t calls = 1;  // with this one
  for (const Entry* entry : candidates) calls += entry->second.outstanding;
  const double share = static_cast<double>(calls) / static_cast<double>(candidates.size());
  const double most = std::ceil(kAffinityLoad * share);
  Entry* chosen = nullptr;
  uint64_t chosen_weight = 0;
  for (Entry* entry : candidates) {
    if (entry->second.outstanding + 1.0 > most) continue;  // never all of them
    const uint64_t weight = MixBits(entry->second.hash ^ key);
    if (chosen != nullptr && weight <= chosen_weight) continue;
    chosen = entry;
    chosen_weight = weight;
  }
  return chosen;
}

ReplicaSet::Entry* ReplicaSet::FirstFull() {
  Entry* first = nullptr;
  for (Entry& entry : replicas_) {
    if (!entry.second.listed || entry.second.failures > 0) continue;
    if (first == nullptr || entry.second.full_until < first->second.full_until) first = &entry;
  }
  return first;
}

ReplicaSet::Entry* ReplicaSet::FirstFailed() {
  Entry* first = nullptr;
  for (Entry& entry : replicas_) {
    if (!entry.second.listed) continue;
    if (first == nullptr || entry.second.check_at < first->second.check_at) first = &entry;
  }
  return first;
}

void ReplicaSet::End(const std::string& name, const Outcome& outcome, Time now) {
  const auto found = replicas_.find(name);
  Replica& replica = found->second;
  --replica.outstanding;
  switch (outcome.kind) {
    case Outcome::Kind::kServed:
      replica.failures = 0;
      replica.full_until = Time::min();
      budget_ = std::min(most_budget_, budget_ + kBudgetEarned);
      break;
    case Outcome::Kind::kFull:
      replica.failures = 0;
      replica.full_until = std::max(replica.full_until, now + outcome.pushback);
      break;
    case Outcome::Kind::kFailed:
      // Calls that ran there fail together; that is one failure.
      if (replica.failures == 0 || now >= replica.check_at) Fail(replica, now);
      break;
    case Outcome::Kind::kUnfit:
    case Outcome::Kind::kOther:
      break;
  }
  if (!replica.listed && replica.outstanding == 0) replicas_.erase(found);
}

void ReplicaSet::Fail(Replica& replica, Time now) {
  ++replica.failures;
  replica.check_at = now + Backoff(kFirstBackoff, kLongestBackoff, replica.failures);
}

std::optional<ReplicaSet::Time> ReplicaSet::NextTry(const Tries& tries, const Outcome& outcome,
                                                    Time now) {
  if (tries.made >= tries.most || outcome.never_again || now >= tries.deadline) return std::nullopt;
  const bool has_other = std::any_of(replicas_.begin(), replicas_.end(), [&](const Entry& entry) {
    return entry.second.listed && Works(entry.second, now) && !tries.names.contains(entry.first);
  });
  switch (outcome.kind) {
    case Outcome::Kind::kFull:  // it said when; Choose keeps to that
      return now;
    case Outcome::Kind::kUnfit:
      if (has_other) return now;
      return std::nullopt;
    case Outcome::Kind::kFailed:
      break;
    case Outcome::Kind::kServed:
    case Outcome::Kind::kOther:
      return std::nullopt;
  }
  Time next = now;
  if (!has_other) next += Backoff(kFirstWait, kLongestWait, static_cast<uint32_t>(tries.made));
  if (next >= tries.deadline || budget_ < 1) return std::nullopt;
  budget_ -= 1;
  return next;
}

ReplicaSet::Duration ReplicaSet::Backoff(Duration first, Duration longest, uint32_t times) {
  const double growth = std::exp2(std::min(times, 32U) - 1);
  const double seconds = std::min(std::chrono::duration<double>(first).count() * growth,
                                  std::chrono::duration<double>(longest).count());
  const double factor = std::uniform_real_distribution<double>(0.8, 1.2)(random_);
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds * factor));
}

std::vector<std::string> ReplicaSet::TakeChecks(Time now) {
  std::vector<std::string> due;
  for (auto& [name, replica] : replicas_) {
    if (!replica.listed || replica.failures == 0 || replica.checking || replica.check_at > now) {
      continue;
    }
    replica.checking = true;
    due.push_back(name);
  }
  return due;
}

void ReplicaSet::Checked(const std::string& name, bool serves, Time now) {
  const auto found = replicas_.find(name);
  if (found == replicas_.end()) return;  // it is no longer listed
  Replica& replica = found->second;
  replica.checking = false;
  if (serves) {
    replica.failures = 0;
  } else if (replica.failures > 0) {
    Fail(replica, now);
  }
}

}  // namespace recurve::client
