// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_WRITE_FILE_H_
#define RECURVE_CLIENT_LOAD_WRITE_FILE_H_

#include <string>

#include "absl/status/status.h"

namespace recurve::client {

// In place of what is there. The error names the file.
absl::Status WriteFile(const std::string& path, const std::string& text);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_WRITE_FILE_H_
