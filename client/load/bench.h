// SPDX-License-Identifier: Apache-2.0
// `recurve bench`, the load tester, as a subcommand of `recurve`: see client/cli/commands.h.
#ifndef RECURVE_CLIENT_LOAD_BENCH_H_
#define RECURVE_CLIENT_LOAD_BENCH_H_

namespace CLI {
class App;
}

namespace recurve::client {

void AddBenchCommand(CLI::App& app, int& exit_code);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_BENCH_H_
