// SPDX-License-Identifier: Apache-2.0
#include "client/load/write_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace recurve::client {

absl::Status WriteFile(const std::string& path, const std::string& text) {
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  bool whole = file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  int error = errno;
  if (file != nullptr && std::fclose(file) != 0 && whole) {
    whole = false;
    error = errno;
  }
  if (whole) return absl::OkStatus();
  return absl::UnknownError(absl::StrCat("cannot write file '", path, "': ", std::strerror(error)));
}

}  // namespace recurve::client
