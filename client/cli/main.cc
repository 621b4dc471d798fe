// SPDX-License-Identifier: Apache-2.0
// `recurve`: the command line of Recurve's client.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/report.h"

namespace {

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
  recurve::client::AddTopCommand(app, exit_code);
  try {
    const absl::Status status = recurve::client::CheckFlagsHaveValues({argv + 1, argv + argc});
    if (!status.ok()) {
      throw CLI::ParseError(std::string(status.message()), CLI::ExitCodes::ValidationError);
    }
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
  std::signal(SIGPIPE, SIG_DFL);  // `recurve generate | head` ends quietly
  const int exit_code = Run(argc, argv);
  return recurve::client::FlushOutput() || exit_code != 0 ? exit_code : 1;
}
