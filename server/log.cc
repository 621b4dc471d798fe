// SPDX-License-Identifier: Apache-2.0
#include "server/log.h"

#include <chrono>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace recurve {
namespace {

std::string Now() {
  const auto now = std::chrono::system_clock::now();
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
  return absl::StrFormat("%s.%03dZ", text, milliseconds);
}

// Values that a shell or a human would misread are quoted, with every odd byte escaped.
std::string TextValue(const std::string& value) {
  bool plain = !value.empty();
  for (const char c : value) {
    plain = plain && absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '"' && c != '\\' &&
            c != '=';
  }
  return plain ? value : absl::StrCat("\"", absl::CEscape(value), "\"");
}

std::string FormatText(std::string_view time, std::string_view event,
                       const std::vector<LogField>& fields) {
  std::string line(time);
  line += ' ';
  line += event;
  for (const LogField& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    if (const auto* text = std::get_if<std::string>(&field.value)) {
      line += TextValue(*text);
    } else if (const auto* count = std::get_if<uint64_t>(&field.value)) {
      absl::StrAppend(&line, *count);
    } else {
      absl::StrAppend(&line, std::get<double>(field.value));
    }
  }
  return line;
}

std::string FormatJson(std::string_view time, std::string_view event,
                       const std::vector<LogField>& fields) {
  nlohmann::ordered_json line;
  line["time"] = std::string(time);
  line["event"] = std::string(event);
  for (const LogField& field : fields) {
    std::visit([&](const auto& value) { line[std::string(field.key)] = value; }, field.value);
  }
  // Bytes that are not UTF-8 become U+FFFD instead of an exception.
  return line.dump(-1, ' ', /*ensure_ascii=*/true,
                   nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

std::string FormatLogLine(LogFormat format, std::string_view time, std::string_view event,
                          const std::vector<LogField>& fields) {
  return format == LogFormat::kJson ? FormatJson(time, event, fields)
                                    : FormatText(time, event, fields);
}

void Log::Write(std::string_view event, const std::vector<LogField>& fields) {
  std::string line = FormatLogLine(format_, Now(), event, fields);
  line += '\n';
  const std::lock_guard lock(mutex_);
  std::fwrite(line.data(), 1, line.size(), out_);
  std::fflush(out_);
}

}  // namespace recurve
