// SPDX-License-Identifier: Apache-2.0
// Lives of servers, each a warm-up and phases in which two kinds of faults meet.
#ifndef RECURVE_TESTS_SOAK_SOAK_H_
#define RECURVE_TESTS_SOAK_SOAK_H_

#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/soak/balance.h"
#include "tests/soak/faults.h"

namespace recurve::soak {

using Phase = std::pair<Fault, Fault>;

struct Options {
  uint64_t seed = 1;
  uint64_t faults = std::numeric_limits<uint64_t>::max();
  std::optional<std::chrono::seconds> seconds;  // no phase begins after that
  std::vector<Phase> phases;                    // over and over; empty: drawn
  std::string server;                           // recurve-server
  std::string faulty_server;                    // recurve-soak-server, whose steps can fail
  std::string heap_report;                      // recurve-soak-heap.so
  std::string self;                             // of a client that will be killed
  std::string model;
  std::string directory;  // for logs
  uint32_t vocabulary = 0;
};

class Soak {
 public:
  Soak(const Options& options, Findings* findings);

  // Returns when all faults were injected, or the time is over, or something was found; how many
  // were.
  uint64_t Run();

 private:
  // A server, with what it had after its warm-up.
  struct Life {
    std::unique_ptr<Subject> subject;
    std::unique_ptr<Injector> injector;
    Rest rest;
  };

  std::vector<std::string> Command(const std::string& server) const;
  bool Begin();
  bool TakePlace(std::unique_ptr<Subject> subject);
  void End();
  Phase Draw();
  void RunPhase(const Phase& phase);
  // Injects `kinds`, each `share` times, beside calls without faults; `during` runs meanwhile, and
  // with it the phase may end before.
  template <typename During>
  void Mix(const std::vector<Fault>& kinds, uint64_t share, bool ending, const During& during);
  void Terminate(Fault other);
  void BreakStep(Fault how, Fault other);
  void AwaitVanished();
  void Tell(const Phase& phase, std::chrono::steady_clock::time_point began);

  const Options options_;
  Findings* const findings_;
  Random random_;
  Workload workload_;
  Ends ends_;
  std::optional<Life> life_;
  uint64_t share_ = 0;
  uint64_t phases_ = 0;
  std::atomic<uint64_t> done_ = 0, good_ = 0;
  std::array<std::atomic<uint64_t>, kFaultNames.size()> by_kind_{};
};

}  // namespace recurve::soak

#endif  // RECURVE_TESTS_SOAK_SOAK_H_
