// SPDX-License-Identifier: Apache-2.0
// Samples that wait for a slot.
#ifndef RECURVE_ENGINE_SCHEDULE_WAITING_QUEUE_H_
#define RECURVE_ENGINE_SCHEDULE_WAITING_QUEUE_H_

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/base/steady_time.h"
#include "engine/schedule/sequence.h"

namespace recurve {

// A sample of a higher priority always goes first. Within a priority tenants take turns by deficit
// round robin (Shreedhar and Varghese, "Efficient fair queueing using deficit round robin", SIGCOMM
// 1995) on the tokens that their samples may take, so that a tenant who asks for much waits for
// itself alone; a tenant's own samples go in the order of their arrival. Preempted sequences come
// back before all others of their priority: they have had their turn. How many may wait is decided
// where samples are accepted (CheckCapacity). Thread-compatible.
class WaitingQueue {
 public:
  // Tokens that a tenant earns with each turn.
  static constexpr uint64_t kQuantum = 512;

  // A new sample, after those of its priority and tenant.
  void Add(Sequence* sequence);
  // A preempted sequence. Of several the one that was admitted first must be returned last.
  void Return(Sequence* sequence);

  // Whose turn it is. The answer changes only when Add or Return brings a sample of a higher
  // priority, or the sample leaves. Somebody has a turn.
  Sequence* Next();
  // Takes out Next(), at its tenant's expense.
  void TakeNext();
  // Next() has its turn, but waits for something else; others go on.
  void ParkNext();
  // Brings back the parked sequences for which `ready` is true, before all others of their
  // priority.
  void Unpark(absl::FunctionRef<bool(const Sequence&)> ready);
  // Takes out a sample that ends unserved.
  void Remove(Sequence* sequence);

  // Since when the sample waits that has waited longest, if any does. Those that have run before
  // or wait for a prefix do not count, nor those of low priority: waiting is what they offered.
  std::optional<SteadyTime> OldestArrival() const;

  // Whether anybody waits who is not parked.
  bool HasNext() const { return load_.samples > parked_; }
  const QueueLoad& load() const { return load_; }  // parked ones included

 private:
  struct Tenant {
    std::string name;
    uint64_t credit = 0;
    bool earned = false;              // this turn's quantum
    std::deque<Sequence*> waiting{};  // oldest first; never empty between calls
  };
  struct Class {
    std::deque<Sequence*> returned;
    std::vector<Sequence*> parked;  // in the order of their turns
    std::list<Tenant> turns;        // the first one has its turn
  };

  // Counts the sample in or out.
  void Count(const Sequence& sequence, bool in);
  Class& ClassOf(const Sequence& sequence);
  // The class that goes first, and in it the tenant whose first sample goes next.
  Class& First();
  static Tenant& Turn(Class& first);

  std::array<Class, kPriorities> classes_;  // by Priority, the highest first
  QueueLoad load_;
  uint32_t parked_ = 0;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_WAITING_QUEUE_H_
