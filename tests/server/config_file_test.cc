// SPDX-License-Identifier: Apache-2.0
// The configuration file alone, and what ParseFlags makes of it: the same as of the command line.
#include "server/config_file.h"

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/flags.h"
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

absl::StatusOr<std::variant<ServerOptions, std::string>> Parse(
    const std::vector<std::string>& flags) {
  std::vector<const char*> argv = {"recurve-server"};
  for (const std::string& flag : flags) argv.push_back(flag.c_str());
  return ParseFlags(static_cast<int>(argv.size()), argv.data());
}

// The value of the only line; or the error, without "file:NUMBER: " but with the number in <>.
std::string ValueOrError(const std::string& text) {
  const auto lines = ParseConfigFile("file", text);
  if (!lines.ok()) {
    const std::string message(lines.status().message());
    EXPECT_THAT(message, StartsWith("file:"));
    const size_t end = message.find(": ");
    return absl::StrCat("<", message.substr(5, end - 5), "> ", message.substr(end + 2));
  }
  EXPECT_EQ(lines->size(), 1U) << text;
  if (lines->size() != 1) return "";
  EXPECT_EQ(lines->front().flag, "key") << text;
  return lines->front().value.value_or("(none)");
}

TEST(ConfigFileTest, AValueGoesToTheEndOfTheLine) {
  EXPECT_EQ(ValueOrError("key = entry:256,1:256"), "entry:256,1:256");
  EXPECT_EQ(ValueOrError("key=my model"), "my model");
  EXPECT_EQ(ValueOrError(" \tkey\t= \t5 s \t\n"), "5 s");
  EXPECT_EQ(ValueOrError("key = 1\r\n"), "1");
  EXPECT_EQ(ValueOrError("\xEF\xBB\xBFkey = 1"), "1");
  EXPECT_EQ(ValueOrError("key = a = b"), "a = b");
  EXPECT_EQ(ValueOrError("key = [a, b]"), "[a, b]");
  EXPECT_EQ(ValueOrError("key = a \"b\" 'c"), "a \"b\" 'c");
  EXPECT_EQ(ValueOrError("key = C:\\n\\x41%s"), "C:\\n\\x41%s");
  EXPECT_EQ(ValueOrError("key = \xC3\xA9\xFF"), "\xC3\xA9\xFF");
  EXPECT_EQ(ValueOrError("key"), "(none)");
}

TEST(ConfigFileTest, CommentsBeginTheLineOrStandBehindABlank) {
  EXPECT_EQ(ValueOrError("# a = b\n\n \t# c\nkey = 1 # one = 2"), "1");
  EXPECT_EQ(ValueOrError("key = 1\t#"), "1");
  EXPECT_EQ(ValueOrError("key = a#b"), "a#b");
  EXPECT_EQ(ValueOrError("key =#b"), "#b");
  EXPECT_EQ(ValueOrError("key # = 1"), "(none)");
  EXPECT_EQ(ValueOrError("key = # nothing"),
            "<1> key has no value behind its '='; give one, or leave the line out");
}

TEST(ConfigFileTest, QuotesKeepBlanksAndCommentSigns) {
  EXPECT_EQ(ValueOrError("key = \" a # b \" # c"), " a # b ");
  EXPECT_EQ(ValueOrError("key = 'say \"a\"'"), "say \"a\"");
  EXPECT_EQ(ValueOrError("key = \"it's\"#c"),
            "<1> key has text behind the closing \"; around "
            "quotes of the value put those of the other kind");
  EXPECT_EQ(ValueOrError("key = \"a\\\" b"),
            "<1> key has text behind the closing \"; around "
            "quotes of the value put those of the other kind");
  EXPECT_EQ(ValueOrError("key = 'a"),
            "<1> key has a value that begins with ' and does not end "
            "with it; around quotes of the value put those of the other "
            "kind");
  EXPECT_EQ(ValueOrError("key = ''"),
            "<1> key has no value behind its '='; give one, or leave the line out");
}

TEST(ConfigFileTest, ErrorsNameLineAndFlag) {
  EXPECT_EQ(ValueOrError("key = 1\r\n\r\nkey = 2\r\n"), "<3> key is given twice, first in line 1");
  EXPECT_EQ(ValueOrError("key =\n"),
            "<1> key has no value behind its '='; give one, or leave the line out");
  EXPECT_EQ(ValueOrError("\n[server]\nkey = 1\n"),
            "<2> '[server]' begins a section; lines are flag = value, without sections");
  EXPECT_EQ(ValueOrError("= 1"), "<1> no flag before the '='; lines are flag = value");
  EXPECT_EQ(ValueOrError(std::string("k\0e\0y\0", 6)),
            "<1> a NUL byte; the file must be text, in UTF-8");
  EXPECT_EQ(ParseConfigFile("file", "")->size(), 0U);
  EXPECT_EQ(ParseConfigFile("file", "\xEF\xBB\xBF\n \n#\n")->size(), 0U);
}

class ConfigFlagsTest : public testing::Test {
 protected:
  void Write(const std::string& text) { directory_.Write("recurve.conf", text); }

  std::string Error(std::vector<std::string> flags = {}) {
    flags.push_back("--config=" + path_);
    const auto parsed = Parse(flags);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(parsed.status().message());
  }

  const ScopedDirectory directory_;
  const std::string path_ = directory_.path() + "/recurve.conf";
};

TEST_F(ConfigFlagsTest, TheFileIsReadAndTheCommandLineWins) {
  Write(
      "# a comment\nmodel = \"/models/other\"\nslots = 7\nareas=9\nthreads = auto\n"
      "model_name = my model\nkv_budget = entry:256,1:256\nmax_queued_requests = 010\n"
      "drain_grace = 10s\nlog_prompts\nprefix_cache = true\nlisten = \"0.0.0.0:50051\"\n");
  const auto parsed = Parse({"--config=" + path_, "--areas=2", "--prefix_cache=false"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const auto& options = std::get<ServerOptions>(*parsed);
  EXPECT_EQ(options.engine.model.directory, "/models/other");
  EXPECT_EQ(options.engine.model.name, "my model");
  EXPECT_EQ(options.engine.eviction.budget, "entry:256,1:256");
  EXPECT_EQ(options.engine.schedule.slots, 7U);
  EXPECT_EQ(options.engine.schedule.areas, 2U);
  EXPECT_EQ(options.engine.schedule.max_queued_requests, 10U);
  EXPECT_EQ(options.drain.grace, Milliseconds(10000));
  EXPECT_TRUE(options.log.prompts);
  EXPECT_FALSE(options.engine.memory.prefix_cache);
  EXPECT_EQ(options.listen.listen.ToString(), "0.0.0.0:50051");
}

TEST_F(ConfigFlagsTest, ErrorsNameFileLineAndFlag) {
  for (const auto& [line, error] : std::vector<std::pair<std::string, std::string>>{
           {"slots = many",
            "--slots: 'many' is not possible: expected a whole number from 0 to 4294967295"},
           {"drain_grace = 5 s",
            "--drain_grace: '5 s' is not possible: expected a duration such as "
            "500ms, 30s or 2m, from 0 to 24h, in whole milliseconds"},
           {"max_queued_tokens =",
            "max_queued_tokens has no value behind its '='; give one, or leave the line out"},
           {"admission_headroom = ''",
            "admission_headroom has no value behind its '='; give one, or leave the line out"},
           {"slotz = 7",
            "'slotz' is no flag that a file can set; lines are flag = value, with the "
            "names of --help without their dashes"},
           {"--slots = 7",
            "'--slots' is no flag that a file can set; lines are flag = value, with "
            "the names of --help without their dashes"},
           {"slots", "slots has no value; write slots = value"},
           {"model_name = --slots",
            "--model_name: '--slots' is not possible: it begins as a flag does; is the value "
            "missing?"},
       }) {
    Write("# here\n" + line + "\n");
    EXPECT_EQ(Error(), path_ + ":2: " + error);
    EXPECT_EQ(Error({"--slots=1"}), path_ + ":2: " + error) << "where the command line would win";
  }
  for (const char* flag : {"config", "help", "version", "h", "", "slots,areas", "--"}) {
    Write(absl::StrCat(flag, " = 7\n"));
    EXPECT_THAT(Error(), StartsWith(path_ + ":1: ")) << flag;
  }
}

TEST_F(ConfigFlagsTest, AFileThatCannotBeReadIsNamed) {
  const auto error = [](const std::string& path) {
    return std::string(Parse({"--config=" + path}).status().message());
  };
  EXPECT_THAT(error("/nowhere/file"), StartsWith("--config: /nowhere/file: "));
  EXPECT_EQ(error(directory_.path()), "--config: " + directory_.path() + ": not a regular file");
  EXPECT_EQ(error("/dev/zero"), "--config: /dev/zero: not a regular file");
  Write(std::string((1 << 20) + 1, '\n'));
  EXPECT_EQ(error(path_), "--config: " + path_ + ": 1048577 bytes; expected at most 1048576");
  Write(std::string(1 << 20, 'x'));
  EXPECT_LT(error(path_).size(), 1000U);
}

// ---- What the command line takes the file takes, to the same options; what it refuses too ----

struct Flag {
  std::string name, type;  // type: as in --help; empty for a switch
};

// Those that a file can set.
std::vector<Flag> AllFlags() {
  const auto help = Parse({"--help"});
  std::vector<Flag> flags;
  for (const auto& line : absl::StrSplit(std::get<std::string>(*help), '\n')) {
    if (!absl::StartsWith(line, "  --")) continue;
    const std::vector<std::string> words = absl::StrSplit(line.substr(4), ' ', absl::SkipEmpty());
    if (words[0] == "config" || words[0] == "help" || words[0] == "version") continue;
    const bool has_type = line[4 + words[0].size() + 1] != ' ';
    flags.push_back({words[0], has_type ? words[1] : ""});
  }
  return flags;
}

std::vector<std::string> ValuesFor(const Flag& flag) {
  std::vector<std::string> values = {"",
                                     " ",
                                     "0",
                                     "1",
                                     "7",
                                     "010",
                                     "0x10",
                                     "1e3",
                                     "0.25",
                                     "+5",
                                     "-0",
                                     "-1",
                                     " 5",
                                     "5 ",
                                     "5x",
                                     "4096",
                                     "4294967296",
                                     "18446744073709551616",
                                     "nan",
                                     "inf",
                                     "auto",
                                     "AUTO",
                                     "true",
                                     "false",
                                     "True",
                                     "on",
                                     "no",
                                     "5s",
                                     "5 s",
                                     "-5s",
                                     "1500us",
                                     "1h30m",
                                     "25h",
                                     "entry:256,1:256",
                                     "my model",
                                     "a, b",
                                     "[a,b]",
                                     "[5]",
                                     "[]",
                                     "{}",
                                     "\"",
                                     "'",
                                     "\"5\"",
                                     "'5'",
                                     "a\"b'c",
                                     "#",
                                     "a#b",
                                     "a # b",
                                     "a=b",
                                     "=",
                                     "--slots=5",
                                     "--",
                                     "/a b/c",
                                     "\\x41",
                                     "127.0.0.1:1",
                                     "[::1]:2",
                                     ";",
                                     "\xC3\xA9",
                                     "\xFF",
                                     "\x01",
                                     "a\r",
                                     "\ta",
                                     "!true"};
  for (const auto& choice : absl::StrSplit(flag.type, '|')) values.emplace_back(choice);
  return values;
}

// The ways to write `value` in a file.
std::vector<std::string> Written(const std::string& value) {
  std::vector<std::string> written;
  if (value.find('"') == value.npos) {
    written.push_back("\"" + value + "\"");
  } else if (value.find('\'') == value.npos) {
    written.push_back("'" + value + "'");
  }
  const bool is_plain = value.find_first_of("\"'\t\r") == value.npos &&
                        value.find(" #") == value.npos && !absl::StartsWith(value, " ") &&
                        !absl::EndsWith(value, " ") && !absl::StartsWith(value, "#");
  if (is_plain) written.push_back(value);
  return written;
}

// Of how many values of a flag one is tried, others for each flag.
constexpr size_t kValueStride = RECURVE_FLAG_VALUE_STRIDE;

TEST_F(ConfigFlagsTest, FileAndCommandLineAgree) {
  const std::vector<Flag> flags = AllFlags();
  ASSERT_GT(flags.size(), 35U);
  const ServerOptions defaults = std::get<ServerOptions>(*Parse({"--model=/m"}));
  size_t turn = 0;
  for (const Flag& flag : flags) {
    bool changes = false;
    for (const std::string& value : ValuesFor(flag)) {
      if (turn++ % kValueStride != 0) continue;
      std::vector<std::string> arguments;
      if (flag.name != "model") arguments.push_back("--model=/m");
      std::vector<std::string> with_flag = arguments;
      with_flag.push_back(absl::StrCat("--", flag.name, "=", value));
      const auto of_line = Parse(with_flag);
      changes |= of_line.ok() && !(std::get<ServerOptions>(*of_line) == defaults);
      for (const std::string& written : Written(value)) {
        SCOPED_TRACE(flag.name + " = " + written);
        Write(absl::StrCat("\n", flag.name, " = ", written, "\n"));
        std::vector<std::string> with_file = arguments;
        with_file.push_back("--config=" + path_);
        const auto of_file = Parse(with_file);
        ASSERT_EQ(of_file.ok(), of_line.ok()) << of_file.status() << of_line.status();
        if (of_file.ok()) {
          ASSERT_TRUE(std::get<ServerOptions>(*of_file) == std::get<ServerOptions>(*of_line));
        } else {
          ASSERT_THAT(std::string(of_file.status().message()), StartsWith(path_ + ":2: "));
          ASSERT_THAT(std::string(of_file.status().message()), HasSubstr(flag.name));
        }
      }
    }
    if (kValueStride > 1 || flag.type == "cpu") continue;  // cpu is the only choice that there is
    EXPECT_TRUE(changes) << flag.name << ": none of the values does anything";
  }
}

}  // namespace
}  // namespace recurve
