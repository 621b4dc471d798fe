// SPDX-License-Identifier: Apache-2.0
// Requests whose tokens are known, and calls that compare what comes with that.
#ifndef RECURVE_TESTS_SOAK_WORKLOAD_H_
#define RECURVE_TESTS_SOAK_WORKLOAD_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "recurve/v1/generation.grpc.pb.h"
#include "tests/soak/raw_http2.h"

namespace recurve::soak {

// What has gone wrong. Thread-safe.
class Findings {
 public:
  void Add(const std::string& what);
  bool any() const { return count_ > 0; }

 private:
  std::mutex mutex_;
  std::atomic<int> count_ = 0;
};

// Of a known answer, and of the tokens that may wait for a slow reader: none of these clients is
// ever taken for one.
inline constexpr uint32_t kMostTokens = 48;

struct Known {
  v1::GenerateRequest request;
  std::string bytes;             // of the request
  std::vector<uint32_t> tokens;  // of the answer, run alone
};

std::shared_ptr<grpc::Channel> NewChannel(const Address& address);

// How calls ended, as their clients saw it. Thread-safe.
class Ends {
 public:
  void Count(const std::string& what);
  std::map<std::string, uint64_t> counts();

 private:
  std::mutex mutex_;
  std::map<std::string, uint64_t> counts_;
};

// Thread-safe once made.
class Workload {
 public:
  // Draws requests for a model of `vocabulary` tokens. Some share beginnings, some have a budget,
  // some sample. Its tokens are not known before Learn.
  Workload(uint64_t seed, uint32_t vocabulary);

  // Runs each request alone; false, and a finding, if one does not end well.
  bool Learn(const Address& address, Findings* findings);

  const Known& Draw(Random* random) const { return known_[Below(random, known_.size())]; }
  // A request for more tokens than may wait for a slow reader.
  const std::string& long_bytes() const { return long_bytes_; }
  size_t size() const { return known_.size(); }
  const Known& at(size_t index) const { return known_[index]; }

  // What a client does in the midst of its stream.
  struct Intent {
    int cancel_after = -1;  // messages; -1: never
    std::chrono::microseconds deadline{0};
  };
  // One call of Generate or Complete, of which every token is compared. Ends other than OK are
  // findings unless they are refusals, or what `intent` asks for; with `ending` any is allowed.
  void Call(const std::shared_ptr<grpc::Channel>& channel, const Known& known, const Intent& intent,
            bool streams, bool ending, Findings* findings, Ends* ends) const;

 private:
  std::vector<Known> known_;
  std::string long_bytes_;
};

}  // namespace recurve::soak

#endif  // RECURVE_TESTS_SOAK_WORKLOAD_H_
