// SPDX-License-Identifier: Apache-2.0
// The server process that the soak is about, from outside.
#ifndef RECURVE_TESTS_SOAK_SUBJECT_H_
#define RECURVE_TESTS_SOAK_SUBJECT_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/address.h"
#include "tests/soak/heap_report.h"

namespace recurve::soak {

// Starts `command` with the standard streams in `log`, or as they are if that is empty.
pid_t Spawn(const std::vector<std::string>& command, const std::string& log);

// Waits for `condition`, asked again and again, `patience` at most; what it said last.
bool WaitUntil(const std::function<bool()>& condition,
               std::chrono::seconds patience = std::chrono::seconds(60));

// A page of metrics. Thread-compatible.
class MetricsPage {
 public:
  explicit MetricsPage(const std::string& text);
  // The sum over all series of `name` that have `label` among their labels.
  double Sum(const std::string& name, const std::string& label = "") const;

 private:
  std::vector<std::pair<std::string, double>> series_;
};

// Thread-safe but for Start, Wait and destruction, which kills the process if it is still there.
class Subject {
 public:
  // Waits until it listens and health says SERVING; null, and the reason on stderr, if it does not.
  // heap_report.cc must be preloaded.
  static std::unique_ptr<Subject> Start(std::vector<std::string> command,
                                        const std::string& directory);
  ~Subject();

  pid_t pid() const { return pid_; }
  const Address& address() const { return address_; }
  MetricsPage metrics() const;
  uint64_t descriptors() const;
  double resident_mib() const;
  // That its malloc has given out, as told after this was called.
  double in_use_mib() const;
  bool there() const;
  void Signal(int signal) const;
  // Waits for its end; the exit code, or 128 and the signal that ended it; -1 if it stays.
  int Wait();
  const std::string& log_path() const { return log_; }

 private:
  Subject(pid_t pid, std::string log) : pid_(pid), log_(std::move(log)) {}

  const pid_t pid_;
  const std::string log_;
  bool ended_ = false;
  Address address_, metrics_address_;
  const HeapReport* heap_ = nullptr;  // a mapping of ours
};

}  // namespace recurve::soak

#endif  // RECURVE_TESTS_SOAK_SUBJECT_H_
