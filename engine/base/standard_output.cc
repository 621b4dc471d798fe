// SPDX-License-Identifier: Apache-2.0
#include "engine/base/standard_output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace recurve {

absl::Status FlushStandardOutput() {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return absl::OkStatus();
  // What failed before this call has left its flag, but not its reason.
  return absl::UnavailableError(
      absl::StrCat("cannot write to standard output", errno == 0 ? "" : ": ",
                   errno == 0 ? "" : std::strerror(errno), "; what it has is not whole"));
}

}  // namespace recurve
