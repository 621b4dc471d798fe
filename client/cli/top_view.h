// SPDX-License-Identifier: Apache-2.0
// What `recurve top` shows: two answers of a server as lines of text.
#ifndef RECURVE_CLIENT_CLI_TOP_VIEW_H_
#define RECURVE_CLIENT_CLI_TOP_VIEW_H_

#include <cstddef>
#include <string>
#include <vector>

#include "client/cli/terminal.h"
#include "recurve/v1/generation.pb.h"

namespace recurve::client {

struct TopState {
  std::string server;  // its address
  v1::GetModelInfoResponse info;
  // The answer before the last one, empty at first, and the last one. Figures are of the time
  // between them: of the server's whole life if `before` is empty, or if counters fell since, as
  // they do when a server starts anew.
  v1::GetLoadResponse before, now;
  // Since when there has been no answer, and why: a line each, empty while there are answers.
  std::string silence, reason;
};

inline constexpr size_t kTopColumns = 80;

// At most `columns` columns a line, and no more than kTopColumns. Strings of the server cannot
// drive the terminal. Bars of recursions are in the colours of their depth if `marks` is kColors.
std::vector<std::string> TopView(const TopState& state, size_t columns, DepthMarks marks);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CLI_TOP_VIEW_H_
