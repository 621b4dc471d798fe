// SPDX-License-Identifier: Apache-2.0
#include "server/net/descriptors.h"

#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace recurve {

DescriptorLimit RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  const uint64_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return {before, before};
  return {before, limit.rlim_cur};
}

uint64_t SoftDescriptorLimit() {
  rlimit limit{};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

uint64_t OpenDescriptors() {
  constexpr uint64_t kUnknown = 16;  // without /proc
  std::error_code error;
  std::filesystem::directory_iterator entry("/proc/self/fd", error);
  if (error) return kUnknown;
  uint64_t open = 0;
  while (entry != std::filesystem::directory_iterator()) {
    ++open;
    entry.increment(error);
    if (error) return kUnknown;
  }
  return open - 1;  // the folder itself was one
}

absl::StatusOr<uint32_t> ConnectionLimit(uint32_t max_connections, uint64_t limit, uint64_t open) {
  const uint64_t kept = open + kKeptDescriptors;
  const uint64_t possible = limit > kept ? limit - kept : 0;
  const uint64_t wanted = std::max<uint64_t>(max_connections, 1);
  if (wanted > possible) {
    return absl::FailedPreconditionError(absl::StrCat(
        "--max_connections=", max_connections == 0 ? "auto" : absl::StrCat(max_connections),
        ": the process may open ", limit, " file descriptors, of which ", kept,
        " are kept for other things than connections; raise the hard limit to ", wanted + kept,
        " at least (ulimit -n, LimitNOFILE= of systemd, --ulimit nofile= of Docker)",
        possible > 0 ? absl::StrCat(", or allow ", possible, " connections at most") : ""));
  }
  if (max_connections > 0) return max_connections;
  return static_cast<uint32_t>(std::min<uint64_t>(possible, kMostAutomaticConnections));
}

}  // namespace recurve
