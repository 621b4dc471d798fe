// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_CLI_SCREEN_H_
#define RECURVE_CLIENT_CLI_SCREEN_H_

#include <cstddef>
#include <string>
#include <vector>

namespace recurve::client {

// Standard output, a terminal, as a screen that is drawn again and again in place. While there is
// one the cursor is hidden; it comes back however the process ends or is stopped, but for SIGKILL.
// One at a time.
class Screen {
 public:
  Screen();
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // Columns that a line may take, at this moment.
  size_t columns() const;

  // Replaces what is shown by `lines`, without those that have no room. False if the terminal is
  // gone.
  bool Draw(const std::vector<std::string>& lines);
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CLI_SCREEN_H_
