// SPDX-License-Identifier: Apache-2.0
// What each tenant takes of the server, held against its quota.
#ifndef RECURVE_SERVER_ACCESS_QUOTAS_H_
#define RECURVE_SERVER_ACCESS_QUOTAS_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "engine/base/steady_time.h"
#include "server/access/access_rules.h"
#include "server/observe/labels.h"
#include "server/options.h"

namespace recurve {

// A tenant's tokens: as many as a minute brings at most, at first all of them, and earned back at
// that rate. Counts whole parts of tokens, so that nothing is lost to rounding. Thread-compatible;
// times never fall.
class TokenBucket {
 public:
  TokenBucket(uint64_t per_minute, SteadyTime now) : per_minute_(per_minute), at_(now) {
    level_ = Full();
  }

  uint64_t per_minute() const { return per_minute_; }
  // Another rate; what is there stays, as far as it may.
  void SetRate(uint64_t per_minute, SteadyTime now);
  // Takes `tokens`, or, if there are not so many, nothing: then how long until there are. `tokens`
  // must be at most a minute's.
  std::chrono::microseconds Take(uint64_t tokens, SteadyTime now);
  void GiveBack(uint64_t tokens, SteadyTime now);
  bool IsFull(SteadyTime now) const;

 private:
  uint64_t Full() const { return per_minute_ * kParts; }
  uint64_t LevelAt(SteadyTime now) const;
  void Earn(SteadyTime now);

  // A token has so many parts, of which each microsecond brings `per_minute`.
  static constexpr uint64_t kParts = 60'000'000;
  uint64_t per_minute_;
  uint64_t level_;  // parts
  SteadyTime at_;   // when level_ was right
};

// When a refused client should try again, where its refusal says so itself.
std::optional<std::chrono::milliseconds> PushbackOf(const absl::Status& status);

// Thread-safe. Knows of a tenant only while it has calls, or has not earned back what it took:
// kMostTenantsTracked at most, so that names which nobody checked take no more memory than that. A
// tenant too many is refused.
class Quotas {
 public:
  // `queue`: max_queued_requests, of which tenants have shares. `now`: the clock.
  explicit Quotas(uint32_t queue, std::function<SteadyTime()> now = std::chrono::steady_clock::now);
  ~Quotas();

  // From now on; also for calls that are there, which go on.
  void SetRules(std::shared_ptr<const AccessRules> rules);

  // One call's part of its tenant's quota. Destroying it gives back the call's place, and the
  // tokens that were taken and not used. Thread-compatible; must not outlive its Quotas.
  class Lease {
   public:
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    // Once, when it is known what the call asks for: `samples` places in the queue, and `tokens` at
    // most. OK, or ResourceExhausted, or InvalidArgument for what the quota could never give.
    absl::Status Charge(uint32_t samples, uint64_t tokens, Rejection* why);
    // A sample has left the queue.
    void LeftQueue();
    // The call has used so many of the tokens, beside earlier ones.
    void Used(uint64_t tokens) { used_ += tokens; }

   private:
    friend class Quotas;
    Lease(Quotas* quotas, std::string tenant) : quotas_(quotas), tenant_(std::move(tenant)) {}

    Quotas* const quotas_;
    const std::string tenant_;
    uint32_t waiting_ = 0;  // samples
    uint64_t charged_ = 0;
    uint64_t used_ = 0;
  };

  // For a call that has come. Null where nothing bounds its tenant; else an error tells why it must
  // not go on, ResourceExhausted.
  absl::StatusOr<std::unique_ptr<Lease>> Enter(const std::string& tenant, Rejection* why);

  size_t tenants();  // that are known now

 private:
  struct Tenant {
    uint32_t calls = 0;
    uint32_t waiting = 0;  // samples
    std::optional<TokenBucket> bucket;
  };

  void Sweep(SteadyTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Charge(Lease* lease, uint32_t samples, uint64_t tokens, Rejection* why);
  void LeftQueue(Lease* lease, uint32_t samples);
  void Leave(Lease* lease);

  const uint32_t queue_;
  const std::function<SteadyTime()> now_;

  Mutex mutex_;
  std::shared_ptr<const AccessRules> rules_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, Tenant> tenants_ ABSL_GUARDED_BY(mutex_);
  SteadyTime next_sweep_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace recurve

#endif  // RECURVE_SERVER_ACCESS_QUOTAS_H_
