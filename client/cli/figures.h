// SPDX-License-Identifier: Apache-2.0
// Figures as texts of a few columns, however large they are.
#ifndef RECURVE_CLIENT_CLI_FIGURES_H_
#define RECURVE_CLIENT_CLI_FIGURES_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace recurve::client {

// Three digits and a unit's letter, at most 5 columns: "0.25", "31.2", "1.23k", ">999E". "-" if it
// is not a number. Negative values are shown as 0.
std::string ShortNumber(double value);

// Of whole things: all digits up to 99999, from there on as above.
std::string ShortCount(double count);

// A latency, at most 7 columns: "0.25 ms", "31.2 ms", "1.23 s".
std::string ShortLatency(double seconds);

// How long something lasts already: "42 s", "3 h 12 min", "5 d 3 h".
std::string ShortAge(double seconds);

// "[###.......]": `share`, from 0 to 1, in `width` columns beside the brackets. Anything above 0
// shows.
std::string Bar(double share, size_t width);

// One line of at most `columns` columns, cut with "..." if need be, in which no character drives
// the terminal. `text` is UTF-8.
std::string FitLine(std::string_view text, size_t columns);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CLI_FIGURES_H_
