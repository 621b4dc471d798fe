// SPDX-License-Identifier: Apache-2.0
#include "server/observe/log.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <ctime>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace recurve {
namespace {

constexpr std::chrono::seconds kFlushTime(1);
constexpr int kPollMilliseconds = 100;  // how late the end of a stalled log is noticed

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
    } else if (const auto* truth = std::get_if<bool>(&field.value)) {
      line += *truth ? "true" : "false";
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

Log::Log(LogFormat format, int out, size_t max_waiting)
    : format_(format), out_(out), max_waiting_(max_waiting), thread_([this] { Run(); }) {}

Log::~Log() {
  Flush();
  give_up_ = true;
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  work_.NotifyOne();
  thread_.join();
}

void Log::Write(std::string_view event, const std::vector<LogField>& fields) {
  const std::string line = FormatLogLine(format_, Now(), event, fields);
  {
    const MutexLock lock(mutex_);
    if (waiting_.size() + line.size() + 1 > max_waiting_) {
      ++dropped_;
      return;
    }
    waiting_ += line;
    waiting_ += '\n';
  }
  work_.NotifyOne();
}

void Log::Flush() {
  const SteadyTime until = std::chrono::steady_clock::now() + kFlushTime;
  const MutexLock lock(mutex_);
  while ((!waiting_.empty() || writing_) && idle_.WaitUntil(mutex_, until)) {
  }
}

void Log::Run() {
  MutexLock lock(mutex_);
  while (true) {
    while (!stopping_ && waiting_.empty()) work_.Wait(mutex_);
    if (waiting_.empty()) return;
    std::string lines = std::exchange(waiting_, {});
    if (const uint64_t dropped = std::exchange(dropped_, 0); dropped > 0) {
      lines += FormatLogLine(format_, Now(), "log_dropped", {{"lines", dropped}});
      lines += '\n';
    }
    writing_ = true;
    lock.Unlock();
    WriteOut(lines);
    lock.Lock();
    writing_ = false;
    idle_.NotifyAll();
  }
}

void Log::WriteOut(std::string_view lines) const {
  while (!lines.empty()) {
    pollfd out{out_, POLLOUT, 0};
    if (poll(&out, 1, kPollMilliseconds) == 0) {
      if (give_up_) return;
      continue;
    }
    // A pipe that poll calls writable takes this much without blocking.
    const ssize_t written = write(out_, lines.data(), std::min<size_t>(lines.size(), PIPE_BUF));
    if (written > 0) {
      lines.remove_prefix(static_cast<size_t>(written));
    } else if (errno != EINTR && errno != EAGAIN) {
      return;  // closed, or a full disk: there is nobody to tell
    }
  }
}

}  // namespace recurve
