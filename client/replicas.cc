// SPDX-License-Identifier: Apache-2.0
#include "client/replicas.h"

#include <iterator>
#include <random>
#include <utility>
#include <vector>

#include "client/channel.h"
#include "client/resolve.h"

namespace recurve::client {
namespace {

constexpr auto kCheckTimeout = std::chrono::seconds(2);

ReplicaSet::Time Now() { return std::chrono::steady_clock::now(); }

bool Serves(const grpc::Status& status, const grpc::health::v1::HealthCheckResponse& response) {
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) return true;  // it does not say
  return status.ok() && response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
}

}  // namespace

// The question whether a server serves, on its way.
struct Replicas::Check {
  std::string name;
  std::shared_ptr<Stubs> stubs;
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  grpc::health::v1::HealthCheckResponse response;
};

Replicas::Replicas(const ClientOptions& options)
    : options_(options), set_(options.balance, options.retry_budget, std::random_device()()) {
  for (const std::string& server : options.servers) {
    has_dns_names_ = has_dns_names_ || !HostAndPort(server).empty();
  }
  const absl::MutexLock lock(&mutex_);
  LookUp();
  const auto first = std::next(
      authorities_.begin(), static_cast<ptrdiff_t>(std::random_device()() % authorities_.size()));
  set_.TakeTurnsBehind(first->first);
  if (has_dns_names_) look_ups_ = std::thread([this] { KeepLookingUp(); });
}

Replicas::~Replicas() {
  {
    const absl::MutexLock lock(&mutex_);
    ending_ = true;
    changed_.SignalAll();
    for (const auto& [check, owned] : checks_) check->context.TryCancel();
    while (!checks_.empty()) changed_.Wait(&mutex_);
  }
  if (look_ups_.joinable()) look_ups_.join();
}

void Replicas::LookUp() {
  std::map<std::string, std::string> authorities;
  mutex_.Unlock();
  for (const std::string& server : options_.servers) {
    const std::string name = HostAndPort(server);
    const std::vector<std::string> addresses =
        name.empty() ? std::vector<std::string>() : AddressesOf(name);
    for (const std::string& address : addresses) authorities.emplace(address, name);
    if (addresses.empty() && name.empty()) authorities.emplace(server, "");
  }
  mutex_.Lock();
  // When the name service does not answer, those of the last time may still be there.
  if (authorities.empty() && !authorities_.empty()) return;
  if (authorities.empty()) {  // gRPC will say what is wrong with them
    for (const std::string& server : options_.servers) authorities.emplace(server, "");
  }
  authorities_ = std::move(authorities);
  std::vector<std::string> names;
  names.reserve(authorities_.size());
  for (const auto& [name, authority] : authorities_) names.push_back(name);
  set_.SetNames(names);
  std::erase_if(stubs_, [this](const auto& entry) {
    mutex_.AssertHeld();
    return !authorities_.contains(entry.first);
  });
}

void Replicas::KeepLookingUp() {
  const absl::MutexLock lock(&mutex_);
  while (!ending_) {
    const Time began = Now();
    const auto due = [&] {
      mutex_.AssertHeld();
      return began + (look_up_soon_ ? std::chrono::seconds(kLookUpAfterFailure)
                                    : std::chrono::seconds(kLookUpEvery));
    };
    while (!ending_ && Now() < due()) {
      changed_.WaitWithTimeout(&mutex_, absl::FromChrono(due() - Now()));
    }
    look_up_soon_ = false;
    if (!ending_) LookUp();
  }
}

std::shared_ptr<Replicas::Stubs> Replicas::StubsOf(const std::string& name) {
  std::shared_ptr<Stubs>& stubs = stubs_[name];
  if (stubs == nullptr) {
    stubs = std::make_shared<Stubs>(ChannelTo(name, authorities_[name], options_));
  }
  return stubs;
}

Replicas::Choice Replicas::Choose(uint64_t key, ReplicaSet::Tries& tries) {
  Choice choice;
  std::vector<Check*> checks;
  {
    const absl::MutexLock lock(&mutex_);
    checks = TakeChecks();
    const ReplicaSet::Choice chosen = set_.Choose(key, tries, Now());
    choice.ready = chosen.ready;
    if (chosen.name) choice.place = Place{*chosen.name, StubsOf(*chosen.name)};
  }
  for (Check* check : checks) Start(check);
  return choice;
}

std::vector<Replicas::Place> Replicas::All() {
  const absl::MutexLock lock(&mutex_);
  std::vector<Place> places;
  places.reserve(authorities_.size());
  for (const auto& [name, authority] : authorities_) places.push_back({name, StubsOf(name)});
  return places;
}

void Replicas::End(const Place& place, const ReplicaSet::Outcome& outcome) {
  const absl::MutexLock lock(&mutex_);
  set_.End(place.name, outcome, Now());
  if (outcome.kind != ReplicaSet::Outcome::Kind::kFailed || !has_dns_names_) return;
  look_up_soon_ = true;
  changed_.SignalAll();
}

std::optional<Replicas::Time> Replicas::NextTry(const ReplicaSet::Tries& tries,
                                                const ReplicaSet::Outcome& outcome) {
  const absl::MutexLock lock(&mutex_);
  return set_.NextTry(tries, outcome, Now());
}

std::vector<Replicas::Check*> Replicas::TakeChecks() {
  std::vector<Check*> checks;
  for (const std::string& name : set_.TakeChecks(Now())) {
    auto check = std::make_unique<Check>();
    check->name = name;
    check->stubs = StubsOf(name);
    check->context.set_deadline(std::chrono::system_clock::now() + kCheckTimeout);
    checks.push_back(check.get());
    checks_.emplace(check.get(), std::move(check));
  }
  return checks;
}

void Replicas::Start(Check* check) {
  check->stubs->health.async()->Check(&check->context, &check->request, &check->response,
                                      [this, check](const grpc::Status& status) {
                                        const absl::MutexLock lock(&mutex_);
                                        set_.Checked(check->name, Serves(status, check->response),
                                                     Now());
                                        checks_.erase(check);
                                        changed_.SignalAll();
                                      });
}

}  // namespace recurve::client
