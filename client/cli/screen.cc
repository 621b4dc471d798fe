// SPDX-License-Identifier: Apache-2.0
#include "client/cli/screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>

#include "absl/strings/str_cat.h"

namespace recurve::client {
namespace {

constexpr char kClear[] = "\x1b[2J";
constexpr char kHome[] = "\x1b[H";
constexpr char kClearLine[] = "\x1b[2K";
constexpr char kClearBelow[] = "\x1b[J";
constexpr char kHideCursor[] = "\x1b[?25l";
constexpr char kShowCursor[] = "\x1b[?25h";

constexpr std::array kEndings = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

void ShowCursor() {
  [[maybe_unused]] const ssize_t written =
      write(STDOUT_FILENO, kShowCursor, sizeof(kShowCursor) - 1);
}

// Shows the cursor and lets the signal do what it does without us. Calls nothing that a handler may
// not. A process that goes on after a stop hides the cursor when it draws.
extern "C" void ShowCursorAndEnd(int signal) {
  const int error = errno;
  ShowCursor();
  if (signal == SIGTSTP) {
    raise(SIGSTOP);
  } else {
    std::signal(signal, SIG_DFL);
    raise(signal);
  }
  errno = error;
}

winsize Size() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) {
    size.ws_row = 24;
    size.ws_col = 80;
  }
  return size;
}

}  // namespace

Screen::Screen() {
  struct sigaction action = {};
  action.sa_handler = ShowCursorAndEnd;
  action.sa_flags = SA_RESTART;
  for (const int signal : kEndings) sigaction(signal, &action, nullptr);
  std::fputs(kClear, stdout);
}

Screen::~Screen() {
  for (const int signal : kEndings) std::signal(signal, SIG_DFL);
  ShowCursor();
}

size_t Screen::columns() const { return Size().ws_col; }

bool Screen::Draw(const std::vector<std::string>& lines) {
  // The cursor waits on a line below the last: on a full screen a line less fits.
  const size_t shown = std::min<size_t>(lines.size(), Size().ws_row - 1);
  std::string frame = absl::StrCat(kHideCursor, kHome);
  for (size_t i = 0; i < shown; ++i) absl::StrAppend(&frame, kClearLine, lines[i], "\n");
  absl::StrAppend(&frame, kClearBelow);
  return std::fwrite(frame.data(), 1, frame.size(), stdout) == frame.size() &&
         std::fflush(stdout) == 0;
}

}  // namespace recurve::client
