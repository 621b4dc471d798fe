// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/library_log.h"

#include <google/protobuf/stubs/common.h>
#include <grpc/support/log.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/mutex.h"
#include "server/observe/line_limit.h"

// Later versions of protobuf write to Abseil's log.
#define RECURVE_PROTOBUF_HAS_LOG_HANDLER (GOOGLE_PROTOBUF_VERSION < 3022000)
#if RECURVE_PROTOBUF_HAS_LOG_HANDLER
#include <google/protobuf/stubs/logging.h>
#endif

namespace recurve {
namespace {

constexpr size_t kMaxMessageBytes = 2000;

enum Library : size_t { kGrpc, kProtobuf, kLibraries };
constexpr std::array<const char*, kLibraries> kNames = {"grpc", "protobuf"};

struct Line {
  Library library;
  std::string severity;
  std::string where;  // file:line
  std::string_view message;
  bool fatal = false;
};

// Where lines go; the libraries' handlers know nothing but functions.
class Sink {
 public:
  static Sink& Get() {
    static auto* const sink = new Sink;  // for ever: gRPC's threads may outlive everything
    return *sink;
  }

  void Open(Log* log) {
    const MutexLock lock(mutex_);
    log_ = log;
    limits_ = {};
  }

  void Close() {
    const MutexLock lock(mutex_);
    for (size_t library = 0; library < kLibraries; ++library) {
      const uint64_t suppressed = limits_[library].TakeSuppressed();
      if (suppressed == 0) continue;
      log_->Write("library_suppressed",
                  {{"library", std::string(kNames[library])}, {"lines", suppressed}});
    }
    log_ = nullptr;
  }

  void Write(const Line& line) {
    const MutexLock lock(mutex_);
    if (log_ == nullptr) return;
    LineLimit& limit = limits_[line.library];
    if (!limit.Admit(std::chrono::steady_clock::now()) && !line.fatal) return;
    std::vector<LogField> fields = {
        {"library", std::string(kNames[line.library])},
        {"severity", line.severity},
        {"where", line.where},
        {"message", std::string(line.message.substr(0, kMaxMessageBytes))}};
    if (const uint64_t suppressed = limit.TakeSuppressed(); suppressed > 0) {
      fields.push_back({"suppressed", suppressed});
    }
    log_->Write("library", fields);
    if (line.fatal) log_->Flush();
  }

  // The last line of all.
  void WriteEnd(std::string_view event, const std::string& message) {
    const MutexLock lock(mutex_);
    if (log_ == nullptr) {
      std::fprintf(stderr, "%s: %s\n", std::string(event).c_str(), message.c_str());
      return;
    }
    log_->Write(event, {{"message", message}});
    log_->Flush();
  }

 private:
  Mutex mutex_;
  Log* log_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::array<LineLimit, kLibraries> limits_ ABSL_GUARDED_BY(mutex_);
};

void WriteGrpc(gpr_log_func_args* args) {
  const char* severity = args->severity == GPR_LOG_SEVERITY_DEBUG  ? "debug"
                         : args->severity == GPR_LOG_SEVERITY_INFO ? "info"
                                                                   : "error";
  Sink::Get().Write({kGrpc, severity, absl::StrCat(args->file, ":", args->line), args->message});
}

#if RECURVE_PROTOBUF_HAS_LOG_HANDLER
void WriteProtobuf(google::protobuf::LogLevel level, const char* file, int line,
                   const std::string& message) {
  const char* severity = level == google::protobuf::LOGLEVEL_INFO      ? "info"
                         : level == google::protobuf::LOGLEVEL_WARNING ? "warning"
                         : level == google::protobuf::LOGLEVEL_ERROR   ? "error"
                                                                       : "fatal";
  Sink::Get().Write({kProtobuf, severity, absl::StrCat(file, ":", line), message,
                     level == google::protobuf::LOGLEVEL_FATAL});
}
#endif

[[noreturn]] void Terminate() {
  std::string message = "no exception is on its way";
  try {
    if (const std::exception_ptr thrown = std::current_exception()) std::rethrow_exception(thrown);
  } catch (const std::exception& error) {
    message = error.what();
  } catch (...) {
    message = "an exception that is no std::exception";
  }
  Sink::Get().WriteEnd("terminated", message);
  std::abort();
}

void WriteBrokenInvariant(const char* file, int line, const char* condition) {
  Sink::Get().WriteEnd("broken_invariant", absl::StrCat(file, ":", line, ": ", condition));
}

}  // namespace

LibraryLog::LibraryLog(Log* log) {
  Sink::Get().Open(log);
  gpr_set_log_function(&WriteGrpc);
#if RECURVE_PROTOBUF_HAS_LOG_HANDLER
  google::protobuf::SetLogHandler(&WriteProtobuf);
#endif
  std::set_terminate(&Terminate);
  broken_invariant_handler = &WriteBrokenInvariant;
}

LibraryLog::~LibraryLog() { Sink::Get().Close(); }

}  // namespace recurve
