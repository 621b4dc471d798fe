// SPDX-License-Identifier: Apache-2.0
// The subcommands of `recurve`. Each Add function registers one with the parser; `exit_code` is set
// when its callback ran: 0 success, 1 the server or the input said no, 2 wrong usage (the
// parser's).
#ifndef RECURVE_CLIENT_CLI_COMMANDS_H_
#define RECURVE_CLIENT_CLI_COMMANDS_H_

namespace CLI {
class App;
}

namespace recurve::client {

void AddGenerateCommand(CLI::App& app, int& exit_code);
void AddInfoCommand(CLI::App& app, int& exit_code);
void AddHealthCommand(CLI::App& app, int& exit_code);
void AddTokenizeCommand(CLI::App& app, int& exit_code);
void AddTopCommand(CLI::App& app, int& exit_code);
void AddTokenCommand(CLI::App& app, int& exit_code);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CLI_COMMANDS_H_
