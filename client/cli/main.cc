// SPDX-License-Identifier: Apache-2.0
// `recurve`: the command line of Recurve's client.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/report.h"
#include "client/load/bench.h"
#include "client/load/compare.h"

namespace {

// Throws as CLI11 does.
void CheckArguments(const CLI::App& app, const std::vector<std::string_view>& arguments) {
  std::vector<std::string> commands;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    commands.push_back(command->get_name());
  }
  absl::Status status = recurve::client::CheckCommand(arguments, commands);
  status.Update(recurve::client::CheckFlagsHaveValues(arguments));
  if (status.ok()) return;
  throw CLI::ParseError(std::string(status.message()), CLI::ExitCodes::ValidationError);
}

int Run(int argc, char** argv) {
  CLI::App app("Talks to a Recurve server. `recurve COMMAND --help` tells more.", "recurve");
  app.require_subcommand(1);
  app.set_version_flag("--version", RECURVE_VERSION);
  int exit_code = 0;
  recurve::client::AddGenerateCommand(app, exit_code);
  recurve::client::AddInfoCommand(app, exit_code);
  recurve::client::AddHealthCommand(app, exit_code);
  recurve::client::AddTokenizeCommand(app, exit_code);
  recurve::client::AddBenchCommand(app, exit_code);
  recurve::client::AddCompareCommand(app, exit_code);
  recurve::client::AddTopCommand(app, exit_code);
  recurve::client::AddTokenCommand(app, exit_code);
  try {
    CheckArguments(app, {argv + 1, argv + argc});
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  } catch (const std::exception& error) {  // such as bad_alloc
    std::fprintf(stderr, "recurve: %s\n", error.what());
    return 1;
  }
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  // What gRPC writes by itself comes again as the error of a call, in fewer lines.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  std::signal(SIGPIPE, SIG_DFL);  // `recurve generate | head` ends quietly
  const int exit_code = Run(argc, argv);
  return recurve::client::FlushOutput() || exit_code != 0 ? exit_code : 1;
}
