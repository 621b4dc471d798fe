// SPDX-License-Identifier: Apache-2.0
// How a flag of `recurve-server` reads its value, and how the help shows it.
#ifndef RECURVE_SERVER_FLAG_GROUP_H_
#define RECURVE_SERVER_FLAG_GROUP_H_

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/address.h"

namespace recurve {

// Breaks a help text into lines that fit beside the column of flags on a terminal of 100 columns.
std::string WrapHelp(const std::string& text);

// Writes a flag's type and default as `N [32]`, in the same way with every version of CLI11.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override;
};

// --help and --version of a process that serves, and the form of its help, which is that of all.
class GeneralFlags {
 public:
  // `app` has the program's name.
  explicit GeneralFlags(CLI::App* app);

  // After the flags were read: what one of these asks for is printed, and nothing else done.
  std::optional<std::string> TextAskedFor() const;

 private:
  const CLI::App* const app_;
  const CLI::Option* const help_;
  const CLI::Option* const version_;
};

// Sets what flags are bound to by what `arguments` say, in reverse as CLI11 wants them; flags of
// which they say nothing keep their values. InvalidArgument names the flag. What asks for a text,
// such as
// --help, is for the caller to see (GeneralFlags).
absl::Status ParseArguments(std::vector<std::string> arguments, CLI::App* app);

// Adds flags to one group of the help, bound to variables whose values are the defaults. No flag
// takes an empty value; numbers are decimal, without sign, blanks or anything behind them. What a
// value may not be is thrown as CLI::ValidationError, which ParseFlags alone catches.
class FlagGroup {
 public:
  FlagGroup(CLI::App* app, std::string name) : app_(app), name_(std::move(name)) {}

  CLI::Option* Value(const std::string& flag, std::string* value, const std::string& help);
  CLI::Option* Value(const std::string& flag, uint32_t* value, const std::string& help);
  CLI::Option* Value(const std::string& flag, uint64_t* value, const std::string& help);

  // A whole number within both bounds.
  void Bounded(const std::string& flag, uint32_t* value, uint32_t least, uint32_t most,
               const std::string& help);

  // A number above 0 and not above 1, or `auto`, which the engine knows as none.
  void ShareOrAuto(const std::string& flag, std::optional<double>* value, const std::string& help);

  // The flag alone, --flag=true or --flag=false.
  void Switch(const std::string& flag, bool* value, const std::string& help);

  void Choice(const std::string& flag, std::string* value, const std::vector<std::string>& choices,
              const std::string& help);

  // A number above 0, or `auto`, which the engine knows as 0.
  void NumberOrAuto(const std::string& flag, uint32_t* value, const std::string& help);

  // A whole number within both bounds, or `auto`, which the engine knows as none.
  void BoundedOrAuto(const std::string& flag, std::optional<uint32_t>* value, uint32_t least,
                     uint32_t most, const std::string& help);

  // Whole milliseconds, from `least` to a day.
  void Duration(const std::string& flag, std::chrono::milliseconds* value,
                std::chrono::milliseconds least, const std::string& help);

  // The same, or `none`.
  void DurationOrNone(const std::string& flag, std::optional<std::chrono::milliseconds>* value,
                      std::chrono::milliseconds least, const std::string& help);

  // What ParseAddress takes.
  void ListenAddress(const std::string& flag, Address* value, const std::string& help);

  // The same, or `none`.
  void ListenAddressOrNone(const std::string& flag, std::optional<Address>* value,
                           const std::string& help);

 private:
  CLI::Option* Parsed(const std::string& flag, const std::string& initial, const std::string& type,
                      const std::string& help,
                      const std::function<void(const std::string&)>& parse);
  // none: `auto`.
  void ParsedOrAuto(const std::string& flag, uint32_t least, uint32_t most, const std::string& help,
                    const std::function<void(std::optional<uint32_t>)>& set);

  CLI::App* const app_;
  const std::string name_;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_FLAG_GROUP_H_
