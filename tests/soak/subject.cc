// SPDX-License-Identifier: Apache-2.0
#include "tests/soak/subject.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/scoped_descriptor.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/server/http_client.h"

namespace recurve::soak {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

pid_t Spawn(const std::vector<std::string>& command, const std::string& log) {
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (!log.empty()) {
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log.c_str(),
                                     O_CREAT | O_WRONLY | O_TRUNC, 0644);
  }
  pid_t pid = -1;
  if (posix_spawn(&pid, arguments[0], &actions, nullptr, arguments.data(), environ) != 0) pid = -1;
  posix_spawn_file_actions_destroy(&actions);
  return pid;
}

bool WaitUntil(const std::function<bool()>& condition, std::chrono::seconds patience) {
  const auto until = steady_clock::now() + patience;
  while (!condition()) {
    if (steady_clock::now() > until) return condition();
    std::this_thread::sleep_for(milliseconds(10));
  }
  return true;
}

MetricsPage::MetricsPage(const std::string& text) {
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (const std::string& line : lines) {
    const size_t space = line.rfind(' ');
    double value = 0;
    if (space == std::string::npos || !absl::SimpleAtod(line.substr(space + 1), &value)) continue;
    series_.emplace_back(line.substr(0, space), value);
  }
}

double MetricsPage::Sum(const std::string& name, const std::string& label) const {
  double sum = 0;
  for (const auto& [series, value] : series_) {
    if (series.substr(0, series.find('{')) != name) continue;
    if (label.empty() || series.find(label) != std::string::npos) sum += value;
  }
  return sum;
}

// Null, and the reason on stderr, if there is none.
static const HeapReport* MapHeapReport(const std::string& path) {
  const ScopedDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  void* const shared = mmap(nullptr, sizeof(HeapReport), PROT_READ, MAP_SHARED, file.get(), 0);
  if (shared != MAP_FAILED) return static_cast<const HeapReport*>(shared);
  std::perror(path.c_str());
  return nullptr;
}

std::unique_ptr<Subject> Subject::Start(std::vector<std::string> command,
                                        const std::string& directory) {
  const std::string ports = directory + "/ports", heap = directory + "/heap";
  std::filesystem::remove(ports);
  std::filesystem::remove(heap);
  command.insert(command.begin(), {"/usr/bin/env", absl::StrCat(kHeapReportVariable, "=", heap)});
  command.insert(command.end(),
                 {"--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0", "--port_file=" + ports});
  const pid_t pid = Spawn(command, directory + "/log");
  std::unique_ptr<Subject> subject(new Subject(pid, directory + "/log"));
  if (pid < 0 || !WaitUntil([&] { return std::filesystem::exists(ports) || !subject->there(); }) ||
      !subject->there()) {
    std::fprintf(stderr, "%s does not start; see %s\n", command[0].c_str(), subject->log_.c_str());
    return nullptr;
  }
  std::ifstream file(ports);
  for (std::string line; std::getline(file, line);) {
    const std::pair<std::string, std::string> field = absl::StrSplit(line, absl::MaxSplits('=', 1));
    if (field.first == "grpc_address") subject->address_ = *ParseAddress(field.second);
    if (field.first == "metrics_address") subject->metrics_address_ = *ParseAddress(field.second);
  }
  subject->heap_ = MapHeapReport(heap);
  if (subject->heap_ == nullptr) return nullptr;
  const auto ready = [&] { return subject->metrics().Sum("recurve_ready") == 1; };
  return WaitUntil(ready) ? std::move(subject) : nullptr;
}

Subject::~Subject() {
  if (heap_ != nullptr) munmap(const_cast<HeapReport*>(heap_), sizeof(*heap_));
  if (ended_ || pid_ < 0) return;
  Signal(SIGKILL);
  waitpid(pid_, nullptr, 0);
}

MetricsPage Subject::metrics() const {
  return MetricsPage(HttpGet(metrics_address_, "/metrics").body);
}

uint64_t Subject::descriptors() const {
  std::error_code gone;
  const std::filesystem::directory_iterator open(absl::StrCat("/proc/", pid_, "/fd"), gone);
  return gone ? 0 : static_cast<uint64_t>(std::distance(begin(open), end(open)));
}

double Subject::resident_mib() const {
  std::ifstream file(absl::StrCat("/proc/", pid_, "/statm"));
  uint64_t all = 0, resident = 0;
  file >> all >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

double Subject::in_use_mib() const {
  const uint64_t before = heap_->reports;
  WaitUntil([&] { return heap_->reports >= before + 2 || !there(); });  // the next may be under way
  return static_cast<double>(heap_->bytes) / (1 << 20);
}

bool Subject::there() const {
  if (pid_ < 0) return false;
  siginfo_t state{};
  return waitid(P_PID, static_cast<id_t>(pid_), &state, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         state.si_pid == 0;
}

void Subject::Signal(int signal) const { kill(pid_, signal); }

int Subject::Wait() {
  if (!WaitUntil([this] { return !there(); })) return -1;
  int status = 0;
  waitpid(pid_, &status, 0);
  ended_ = true;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace recurve::soak
