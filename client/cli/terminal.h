// SPDX-License-Identifier: Apache-2.0
// How generated text meets a terminal or a pipe.
#ifndef RECURVE_CLIENT_CLI_TERMINAL_H_
#define RECURVE_CLIENT_CLI_TERMINAL_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace recurve::client {

// Whether standard output, which `is_terminal` or not, understands escape sequences.
bool TakesEscapes(bool is_terminal);

// How a token's depth is shown.
enum class DepthMarks {
  kNone,
  kColors,     // a colour for each depth
  kSubscript,  // a subscript digit after each token
};

// `mode` is auto, color, subscript or none; auto is colours on a terminal that has them
// (`is_terminal`, TERM, NO_COLOR) and none elsewhere. `mode` has been validated.
DepthMarks ChooseDepthMarks(std::string_view mode, bool is_terminal);

// `text` with control characters other than newline and tab made visible as U+241B and the like, so
// that a model's output cannot drive the terminal.
std::string Printable(std::string_view text);

// One token's text, marked with its depth (from 1). Text must be whole UTF-8 characters.
std::string MarkDepth(DepthMarks marks, std::string_view text, uint32_t depth);

// "depth 1 2 3", each in its mark.
std::string DepthLegend(DepthMarks marks, uint32_t max_depth);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CLI_TERMINAL_H_
