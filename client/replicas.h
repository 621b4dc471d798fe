// SPDX-License-Identifier: Apache-2.0
// The servers of a client: a channel to each, and the choice among them for each call.
#ifndef RECURVE_CLIENT_REPLICAS_H_
#define RECURVE_CLIENT_REPLICAS_H_

#include <grpcpp/grpcpp.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "client/client.h"
#include "client/replica_set.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "recurve/v1/generation.grpc.pb.h"

namespace recurve::client {

// Thread-safe. Names `dns:///HOST:PORT` stand for all addresses that they have; these are looked up
// at the start, every kLookUpEvery, and soon after a call has failed.
class Replicas {
 public:
  using Time = ReplicaSet::Time;

  struct Stubs {
    explicit Stubs(const std::shared_ptr<grpc::Channel>& channel)
        : generation(channel), health(channel) {}
    v1::GenerationService::Stub generation;
    grpc::health::v1::Health::Stub health;
  };
  // A call's place at a server, to be given back by End.
  struct Place {
    std::string name;
    std::shared_ptr<Stubs> stubs;
  };
  struct Choice {
    std::optional<Place> place;
    Time ready;  // without a place: when to choose again
  };

  explicit Replicas(const ClientOptions& options);
  // Waits until no question is on its way. All calls have ended.
  ~Replicas();

  // As ReplicaSet. Asks servers that have failed whether they serve again, when it is time.
  Choice Choose(uint64_t key, ReplicaSet::Tries& tries);
  void End(const Place& place, const ReplicaSet::Outcome& outcome);
  // Every server, for questions that are no calls: there is nothing to give back.
  std::vector<Place> All();
  std::optional<Time> NextTry(const ReplicaSet::Tries& tries, const ReplicaSet::Outcome& outcome);

 private:
  struct Check;

  static constexpr auto kLookUpEvery = std::chrono::seconds(10);
  static constexpr auto kLookUpAfterFailure = std::chrono::seconds(1);

  void LookUp() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // lets go of it meanwhile
  void KeepLookingUp();
  std::shared_ptr<Stubs> StubsOf(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<Check*> TakeChecks() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Start(Check* check) ABSL_LOCKS_EXCLUDED(mutex_);

  const ClientOptions options_;
  bool has_dns_names_ = false;

  absl::Mutex mutex_;
  absl::CondVar changed_;
  ReplicaSet set_ ABSL_GUARDED_BY(mutex_);
  // By the names that `set_` has; the authority of those that were looked up.
  std::map<std::string, std::string> authorities_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<Stubs>> stubs_ ABSL_GUARDED_BY(mutex_);
  std::map<Check*, std::unique_ptr<Check>> checks_ ABSL_GUARDED_BY(mutex_);  // on their way
  bool look_up_soon_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread look_ups_;  // with names to look up
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_REPLICAS_H_
