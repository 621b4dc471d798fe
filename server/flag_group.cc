// SPDX-License-Identifier: Apache-2.0
#include "server/flag_group.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "engine/base/flag_values.h"
#include "engine/base/quotable.h"
#include "server/version.h"

namespace recurve {
namespace {

using Milliseconds = std::chrono::milliseconds;

[[noreturn]] void Fail(const std::string& flag, const std::string& text,
                       const std::string& expected) {
  throw CLI::ValidationError(flag,
                             absl::StrCat("'", Quotable(text), "' is not possible: ", expected));
}

uint64_t WholeNumber(const std::string& flag, const std::string& text, uint64_t least,
                     uint64_t most) {
  const std::optional<uint64_t> number = ParseWholeNumber(text);
  if (!number.has_value() || *number < least || *number > most) {
    Fail(flag, text, absl::StrCat("expected a whole number from ", least, " to ", most));
  }
  return *number;
}

double NumberUpToOne(const std::string& flag, const std::string& text) {
  double number = 0;
  // SimpleAtod takes blanks, signs and hexadecimal numbers too.
  if (text.find_first_not_of("0123456789.eE-") != text.npos || !absl::SimpleAtod(text, &number) ||
      !(number > 0 && number <= 1)) {
    Fail(flag, text, "expected a number above 0 and not above 1, such as 0.5, or auto");
  }
  return number;
}

std::string DurationText(Milliseconds time) { return absl::FormatDuration(absl::FromChrono(time)); }

Milliseconds ParseMilliseconds(const std::string& flag, const std::string& text,
                               Milliseconds least) {
  constexpr Milliseconds kMost = std::chrono::hours(24);
  absl::Duration duration;
  const bool has_sign = text[0] == '-' || text[0] == '+';
  if (has_sign || !absl::ParseDuration(text, &duration) || duration < absl::FromChrono(least) ||
      duration > absl::FromChrono(kMost) ||
      absl::FromChrono(absl::ToChronoMilliseconds(duration)) != duration) {
    Fail(flag, text,
         absl::StrCat("expected a duration such as 500ms, 30s or 2m, from ", DurationText(least),
                      " to ", DurationText(kMost), ", in whole milliseconds"));
  }
  return absl::ToChronoMilliseconds(duration);
}

Address ParseListenAddress(const std::string& flag, const std::string& text) {
  auto address = ParseAddress(text);
  if (!address.ok()) Fail(flag, text, std::string(address.status().message()));
  return *std::move(address);
}

std::string ErrorText(const CLI::ParseError& error) {
  std::string text = error.what();
  return text.empty() ? error.get_name() : text;
}

}  // namespace

absl::Status ParseArguments(std::vector<std::string> arguments, CLI::App* app) {
  try {
    app->parse(arguments);
  } catch (const CLI::Success&) {  // --help or --version
    return absl::OkStatus();
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(ErrorText(error));
  }
  for (const CLI::Option* option : app->get_options()) {
    if (option->count() > 1) {
      return absl::InvalidArgumentError(absl::StrCat(option->get_name(), " is given twice"));
    }
  }
  return absl::OkStatus();
}

std::string WrapHelp(const std::string& text) {
  constexpr size_t kWidth = 62;
  std::string wrapped;
  size_t column = 0;
  for (const auto& word : absl::StrSplit(text, ' ')) {
    if (column > 0 && column + 1 + word.size() > kWidth) {
      wrapped += '\n';
      column = 0;
    } else if (column > 0) {
      wrapped += ' ';
      ++column;
    }
    absl::StrAppend(&wrapped, word);
    column += word.size();
  }
  return wrapped;
}

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  std::string text;
  if (option->get_type_size() != 0 && !option->get_type_name().empty()) {
    absl::StrAppend(&text, " ", option->get_type_name());
  }
  if (!option->get_default_str().empty()) {
    absl::StrAppend(&text, " [", option->get_default_str(), "]");
  }
  return text;
}

GeneralFlags::GeneralFlags(CLI::App* app)
    : app_(app),
      help_(app->set_help_flag("--help", "Print this help and exit.")->group("General")),
      version_(app->set_version_flag("--version", kVersion, "Print the version and exit.")
                   ->group("General")) {
  app->formatter(std::make_shared<HelpFormatter>());
  app->get_formatter()->column_width(36);
}

std::optional<std::string> GeneralFlags::TextAskedFor() const {
  if (help_->count() > 0) return app_->help();
  if (version_->count() > 0) return absl::StrCat(app_->get_name(), " ", kVersion, "\n");
  return std::nullopt;
}

CLI::Option* FlagGroup::Value(const std::string& flag, std::string* value,
                              const std::string& help) {
  return Parsed(flag, *value, "TEXT", help, [flag, value](const std::string& text) {
    // CLI11 takes the flag that follows one without a value as its value.
    if (text.starts_with("--")) Fail(flag, text, "it begins as a flag does; is the value missing?");
    *value = text;
  });
}

CLI::Option* FlagGroup::Value(const std::string& flag, uint32_t* value, const std::string& help) {
  return Parsed(flag, absl::StrCat(*value), "N", help, [flag, value](const std::string& text) {
    constexpr uint32_t kMost = std::numeric_limits<uint32_t>::max();
    *value = static_cast<uint32_t>(WholeNumber(flag, text, 0, kMost));
  });
}

CLI::Option* FlagGroup::Value(const std::string& flag, uint64_t* value, const std::string& help) {
  return Parsed(flag, absl::StrCat(*value), "N", help, [flag, value](const std::string& text) {
    *value = WholeNumber(flag, text, 0, std::numeric_limits<uint64_t>::max());
  });
}

void FlagGroup::Bounded(const std::string& flag, uint32_t* value, uint32_t least, uint32_t most,
                        const std::string& help) {
  Parsed(flag, absl::StrCat(*value), "N", help,
         [flag, value, least, most](const std::string& text) {
           *value = static_cast<uint32_t>(WholeNumber(flag, text, least, most));
         });
}

void FlagGroup::ShareOrAuto(const std::string& flag, std::optional<double>* value,
                            const std::string& help) {
  Parsed(flag, "auto", "SHARE|auto", help, [flag, value](const std::string& text) {
    *value = text == "auto" ? std::nullopt : std::optional(NumberUpToOne(flag, text));
  });
}

void FlagGroup::Switch(const std::string& flag, bool* value, const std::string& help) {
  const auto check = [](std::string& text) -> std::string {
    if (text == "true" || text == "false") return "";
    return absl::StrCat("'", Quotable(text), "' is not possible: expected true or false");
  };
  app_->add_flag(flag, *value, WrapHelp(help))->check(CLI::Validator(check, ""))->group(name_);
}

void FlagGroup::Choice(const std::string& flag, std::string* value,
                       const std::vector<std::string>& choices, const std::string& help) {
  Parsed(flag, *value, absl::StrJoin(choices, "|"), help,
         [flag, value, choices](const std::string& text) {
           if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
             Fail(flag, text, "this version has " + absl::StrJoin(choices, " or "));
           }
           *value = text;
         });
}

void FlagGroup::NumberOrAuto(const std::string& flag, uint32_t* value, const std::string& help) {
  ParsedOrAuto(flag, 1, std::numeric_limits<uint32_t>::max(), help,
               [value](std::optional<uint32_t> number) { *value = number.value_or(0); });
}

void FlagGroup::BoundedOrAuto(const std::string& flag, std::optional<uint32_t>* value,
                              uint32_t least, uint32_t most, const std::string& help) {
  ParsedOrAuto(flag, least, most, help,
               [value](std::optional<uint32_t> number) { *value = number; });
}

void FlagGroup::ParsedOrAuto(const std::string& flag, uint32_t least, uint32_t most,
                             const std::string& help,
                             const std::function<void(std::optional<uint32_t>)>& set) {
  Parsed(flag, "auto", "N|auto", help, [flag, least, most, set](const std::string& text) {
    const std::optional<uint64_t> number = ParseWholeNumber(text);
    if (text == "auto") {
      set(std::nullopt);
    } else if (!number.has_value() || *number < least || *number > most) {
      Fail(flag, text,
           absl::StrCat("expected a whole number from ", least, " to ", most, ", or auto"));
    } else {
      set(static_cast<uint32_t>(*number));
    }
  });
}

void FlagGroup::Duration(const std::string& flag, Milliseconds* value, Milliseconds least,
                         const std::string& help) {
  Parsed(flag, DurationText(*value), "DURATION", help,
         [flag, value, least](const std::string& text) {
           *value = ParseMilliseconds(flag, text, least);
         });
}

void FlagGroup::DurationOrNone(const std::string& flag, std::optional<Milliseconds>* value,
                               Milliseconds least, const std::string& help) {
  Parsed(flag, value->has_value() ? DurationText(**value) : "none", "DURATION|none", help,
         [flag, value, least](const std::string& text) {
           *value =
               text == "none" ? std::nullopt : std::optional(ParseMilliseconds(flag, text, least));
         });
}

void FlagGroup::ListenAddress(const std::string& flag, Address* value, const std::string& help) {
  Parsed(flag, value->ToString(), "ADDRESS", help,
         [flag, value](const std::string& text) { *value = ParseListenAddress(flag, text); });
}

void FlagGroup::ListenAddressOrNone(const std::string& flag, std::optional<Address>* value,
                                    const std::string& help) {
  Parsed(flag, value->has_value() ? (*value)->ToString() : "none", "ADDRESS|none", help,
         [flag, value](const std::string& text) {
           *value = text == "none" ? std::nullopt : std::optional(ParseListenAddress(flag, text));
         });
}

CLI::Option* FlagGroup::Parsed(const std::string& flag, const std::string& initial,
                               const std::string& type, const std::string& help,
                               const std::function<void(const std::string&)>& parse) {
  const auto parse_text = [flag, parse](const std::string& text) {
    if (text.empty()) throw CLI::ValidationError(flag, "an empty value is not possible");
    parse(text);
  };
  return app_->add_option_function<std::string>(flag, parse_text, WrapHelp(help))
      ->group(name_)
      ->type_name(type)
      ->default_str(initial);
}

}  // namespace recurve
