// SPDX-License-Identifier: Apache-2.0
// The configuration file, against the same flags on the command line.
#include <sys/mman.h>
#include <unistd.h>

#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/config_file.h"
#include "server/flags.h"
#include "tests/fuzz/fuzz.h"

namespace recurve {
namespace {

constexpr size_t kMostLines = 4;  // that are parsed as flags, which takes long under sanitizers

absl::StatusOr<std::variant<ServerOptions, std::string>> Parse(
    const std::vector<std::string>& flags) {
  std::vector<const char*> argv = {"recurve-server"};
  for (const std::string& flag : flags) argv.push_back(flag.c_str());
  return ParseFlags(static_cast<int>(argv.size()), argv.data());
}

// As ParseFlags reads it from a file.
absl::StatusOr<std::variant<ServerOptions, std::string>> ParseAsFile(std::string_view text) {
  const int file = memfd_create("config", MFD_CLOEXEC);
  RECURVE_CHECK(file >= 0);
  RECURVE_CHECK(write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  auto parsed = Parse({absl::StrCat("--config=/proc/self/fd/", file)});
  close(file);
  return parsed;
}

void CheckLines(const std::vector<ConfigLine>& lines) {
  std::set<std::string> flags;
  int last = 0;
  for (const ConfigLine& line : lines) {
    RECURVE_CHECK(line.number > last);
    last = line.number;
    RECURVE_CHECK(!line.flag.empty() && flags.insert(line.flag).second);
    RECURVE_CHECK(!line.value.has_value() || !line.value->empty());
  }
}

}  // namespace
}  // namespace recurve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = recurve::AsText(data, size);
  const auto lines = recurve::ParseConfigFile("file", text);
  if (!lines.ok()) {
    recurve::CheckRefusal(lines.status());
    return 0;
  }
  recurve::CheckLines(*lines);
  std::vector<std::string> flags;
  for (const recurve::ConfigLine& line : *lines) {
    // What no file may say.
    for (const char* name : {"config", "help", "version"}) {
      if (line.flag == name) return 0;
    }
    flags.push_back("--" + line.flag);
    if (line.value.has_value()) absl::StrAppend(&flags.back(), "=", *line.value);
  }
  if (lines->size() > recurve::kMostLines) return 0;
  const auto of_file = recurve::ParseAsFile(text);
  if (!of_file.ok()) recurve::CheckRefusal(of_file.status());
  const auto of_line = recurve::Parse(flags);
  RECURVE_CHECK(of_file.ok() == of_line.ok());
  if (!of_file.ok()) return 0;
  RECURVE_CHECK(std::get<recurve::ServerOptions>(*of_file) ==
                std::get<recurve::ServerOptions>(*of_line));
  return 0;
}
