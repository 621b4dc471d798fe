// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/waiting_queue.h"

#include <algorithm>

#include "engine/base/check.h"

namespace recurve {
namespace {

// Tokens that the sample will hold at most: prompt and new ones. An endless one costs no more than
// a very long one, so that turns do not go round for ever.
uint64_t Cost(const Sequence& sequence) {
  constexpr uint64_t kMost = 1 << 20;
  return std::min(uint64_t{sequence.end} + 1, kMost);
}

}  // namespace

void WaitingQueue::Count(const Sequence& sequence, bool in) {
  const uint64_t tokens = sequence.tokens.size();
  load_.samples += in ? 1 : -1;
  load_.tokens = in ? load_.tokens + tokens : load_.tokens - tokens;
}

WaitingQueue::Class& WaitingQueue::ClassOf(const Sequence& sequence) {
  return classes_[static_cast<size_t>(sequence.sample.priority)];
}

void WaitingQueue::Add(Sequence* sequence) {
  Count(*sequence, true);
  std::list<Tenant>& turns = ClassOf(*sequence).turns;
  const std::string& name = sequence->sample.tenant;
  auto tenant =
      std::find_if(turns.begin(), turns.end(), [&name](const Tenant& t) { return t.name == name; });
  if (tenant == turns.end()) {
    turns.push_back({name});
    tenant = std::prev(turns.end());
  }
  tenant->waiting.push_back(sequence);
}

void WaitingQueue::Return(Sequence* sequence) {
  Count(*sequence, true);
  ClassOf(*sequence).returned.push_front(sequence);
}

WaitingQueue::Class& WaitingQueue::First() {
  const auto first = std::find_if(classes_.begin(), classes_.end(), [](const Class& c) {
    return !c.returned.empty() || !c.turns.empty();
  });
  RECURVE_CHECK(first != classes_.end());
  return *first;
}

WaitingQueue::Tenant& WaitingQueue::Turn(Class& first) {
  std::list<Tenant>& turns = first.turns;
  while (true) {
    Tenant& tenant = turns.front();
    if (!tenant.earned) tenant.credit += kQuantum;
    tenant.earned = true;
    if (Cost(*tenant.waiting.front()) <= tenant.credit) return tenant;
    tenant.earned = false;
    turns.splice(turns.end(), turns, turns.begin());
  }
}

Sequence* WaitingQueue::Next() {
  Class& first = First();
  return first.returned.empty() ? Turn(first).waiting.front() : first.returned.front();
}

void WaitingQueue::TakeNext() {
  Class& first = First();
  if (!first.returned.empty()) {
    Count(*first.returned.front(), false);
    first.returned.pop_front();
    return;
  }
  Tenant& tenant = Turn(first);
  Count(*tenant.waiting.front(), false);
  tenant.credit -= Cost(*tenant.waiting.front());
  tenant.waiting.pop_front();
  if (tenant.waiting.empty()) first.turns.pop_front();  // what it has earned it does not keep
}

void WaitingQueue::ParkNext() {
  Sequence* const sequence = Next();
  TakeNext();
  Count(*sequence, true);
  ++parked_;
  ClassOf(*sequence).parked.push_back(sequence);
}

void WaitingQueue::Unpark(absl::FunctionRef<bool(const Sequence&)> ready) {
  if (parked_ == 0) return;
  for (Class& each : classes_) {
    const auto is_parked = [ready](const Sequence* sequence) { return !ready(*sequence); };
    const auto first = std::stable_partition(each.parked.begin(), each.parked.end(), is_parked);
    parked_ -= static_cast<uint32_t>(each.parked.end() - first);
    each.returned.insert(each.returned.begin(), first, each.parked.end());
    each.parked.erase(first, each.parked.end());
  }
}

std::optional<SteadyTime> WaitingQueue::OldestArrival() const {
  std::optional<SteadyTime> oldest;
  for (const Priority priority : {Priority::kHigh, Priority::kNormal}) {
    for (const Tenant& tenant : classes_[static_cast<size_t>(priority)].turns) {
      const SteadyTime queued = tenant.waiting.front()->stats.queued;
      if (!oldest.has_value() || queued < *oldest) oldest = queued;
    }
  }
  return oldest;
}

void WaitingQueue::Remove(Sequence* sequence) {
  Count(*sequence, false);
  Class& its_class = ClassOf(*sequence);
  if (std::erase(its_class.returned, sequence) > 0) return;
  if (std::erase(its_class.parked, sequence) > 0) {
    --parked_;
    return;
  }
  std::list<Tenant>& turns = its_class.turns;
  const auto tenant = std::find_if(turns.begin(), turns.end(), [sequence](const Tenant& t) {
    return t.name == sequence->sample.tenant;
  });
  RECURVE_CHECK(tenant != turns.end());
  RECURVE_CHECK(std::erase(tenant->waiting, sequence) == 1);
  if (tenant->waiting.empty()) turns.erase(tenant);
}

}  // namespace recurve
