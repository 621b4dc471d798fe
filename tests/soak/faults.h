// SPDX-License-Identifier: Apache-2.0
// What the soak does to a server.
#ifndef RECURVE_TESTS_SOAK_FAULTS_H_
#define RECURVE_TESTS_SOAK_FAULTS_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tests/soak/subject.h"
#include "tests/soak/workload.h"

namespace recurve::soak {

enum class Fault {
  kCancel,       // before the first message, or after some
  kDeadline,     // of some milliseconds
  kDisconnect,   // in mid-stream, by FIN or RST
  kSlow,         // takes some hundred bytes of a stream and no more
  kMalformed,    // see Misbehave
  kSilent,       // connects and says nothing, or half a greeting
  kFlood,        // ten times as many calls at once as can run and wait
  kDescriptors,  // the process has no descriptor left, for a moment
  kKillClient,   // SIGKILL to a process with streams
  kVanish,       // reads and says nothing any more, and never closes
  // These end the server.
  kTerminate,  // SIGTERM under load
  kFailStep,
  kHangStep,
};
inline constexpr std::array<std::string_view, 13> kFaultNames = {
    "cancel",      "deadline",    "disconnect", "slow",      "malformed", "silent",   "flood",
    "descriptors", "kill_client", "vanish",     "terminate", "fail_step", "hang_step"};
inline std::string_view NameOf(Fault fault) { return kFaultNames[static_cast<size_t>(fault)]; }
inline bool EndsServer(Fault fault) { return fault >= Fault::kTerminate; }

// Injects faults into one server. Thread-safe.
class Injector {
 public:
  // `client`: the command of a client that streams until it is killed, but for the address.
  // `capacity`: requests that can run and wait. All must outlive it.
  Injector(Subject* subject, const Workload* workload, std::string client, uint32_t capacity,
           Findings* findings, Ends* ends);

  // One fault that does not end the server. `channel`: the thread's own. `ending`: another is
  // about to end the server.
  void Inject(Fault fault, const std::shared_ptr<grpc::Channel>& channel, bool ending,
              Random* random);

  // Closes the connections of peers that vanished.
  size_t vanished();
  void ForgetVanished();

 private:
  void Disconnect(Random* random);
  void ReadSlowly(Random* random);
  void StaySilent(Random* random);
  void Flood(Random* random);
  void TakeDescriptors(Random* random);
  void KillClient(Random* random);
  void Vanish(Random* random);

  Subject* const subject_;
  const Workload* const workload_;
  const std::string client_;
  const uint32_t capacity_;
  Findings* const findings_;
  Ends* const ends_;

  std::mutex one_at_a_time_;  // of faults that change the whole process
  std::mutex mutex_;
  std::vector<ScopedDescriptor> vanished_;
};

}  // namespace recurve::soak

#endif  // RECURVE_TESTS_SOAK_FAULTS_H_
