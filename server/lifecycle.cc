// SPDX-License-Identifier: Apache-2.0
#include "server/lifecycle.h"

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <new>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/net/descriptors.h"
#include "server/port_file.h"
#include "server/server.h"
#include "server/version.h"

namespace recurve {

using std::chrono::steady_clock;

namespace {

constexpr std::chrono::seconds kProgressEvery(2);
constexpr std::chrono::seconds kShutdownBudget(1);

void LogListening(const Server& server, const ServerOptions& options, Log* log) {
  std::vector<LogField> fields = {{"version", std::string(kVersion)},
                                  {"grpc_address", server.grpc_address().ToString()},
                                  {"metrics_address", server.metrics_address().ToString()}};
  if (const auto health = server.health_address()) {
    fields.push_back({"health_address", health->ToString()});
  }
  fields.push_back({"max_connections", uint64_t{server.max_connections()}});
  fields.push_back({"tls", std::string(options.tls.cert.empty()        ? "off"
                                       : options.tls.client_ca.empty() ? "server"
                                                                       : "mutual")});
  fields.push_back({"access_file", !options.access.file.empty()});
  log->Write("listening", fields);
}

void LogReady(const EngineInfo& info, Log* log) {
  log->Write("ready", {{"model", info.model_name},
                       {"parameters", info.parameters},
                       {"backend", info.backend},
                       {"isa", info.isa},
                       {"precision", info.precision},
                       {"kv_precision", info.kv_precision},
                       {"threads", uint64_t{info.threads}},
                       {"max_context", uint64_t{info.max_context}},
                       {"recursions", uint64_t{info.recursions}},
                       {"slots", uint64_t{info.options.schedule.slots}},
                       {"policy", info.options.schedule.policy},
                       {"kv_pages", uint64_t{info.kv_pages}}});
  for (const MemoryPiece& piece : info.device_memory) {
    log->Write("device_memory", {{"name", piece.name}, {"bytes", piece.bytes}});
  }
  for (const std::string& warning : info.warnings) log->Write("warning", {{"message", warning}});
}

void LogLoading(const std::string& directory, SteadyTime::duration passed,
                const Progress::State& progress, Log* log) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(passed);
  std::vector<LogField> fields = {{"model", directory},
                                  {"seconds", static_cast<uint64_t>(seconds.count())}};
  if (progress.total != 0) {
    fields.push_back({"doing", progress.what});
    fields.push_back({"percent", 100 * progress.done / progress.total});
  }
  log->Write("loading", fields);
}

int Failure(int code, const absl::Status& status, Log* log) {
  log->Write("error", {{"message", std::string(status.message())}});
  return code;
}

// The engine's loop is in a step that does not end, and could not be joined. Should the step come
// back before the process ends, the loop lets go of its calls, which count themselves out at the
// server. So both stay, reachable, as memory in use.
void Abandon(std::unique_ptr<Server> server, std::unique_ptr<Engine> engine) {
  static auto* const abandoned =
      new std::vector<std::pair<std::unique_ptr<Server>, std::unique_ptr<Engine>>>;
  abandoned->emplace_back(std::move(server), std::move(engine));
}

// One run of a server whose engine is loaded.
class Run {
 public:
  Run(const ServerOptions& options, Events* events, Log* log, std::unique_ptr<Server> server,
      std::unique_ptr<Engine> engine)
      : options_(options),
        events_(events),
        log_(log),
        server_(std::move(server)),
        engine_(std::move(engine)),
        watcher_([events, server = server_.get(), engine = engine_.get()] {
          if (engine->WaitForFailure().ok()) return;
          server->SetEngineFailed();  // in every phase, and before calls end and the process does
          events->Failed();
        }) {}

  ~Run() {
    engine_->StopWaiting();  // which the watcher may not even have begun
    watcher_.join();
    if (engine_->Snapshot().stuck) Abandon(std::move(server_), std::move(engine_));
  }

  int Serve() {
    server_->SetEngine(engine_.get());
    LogReady(engine_->Info(), log_);
    server_->SetServing(true);
    const Events::State state = events_->Wait([](const auto& s) { return s.stop || s.failed; });
    server_->SetServing(false);
    if (!state.failed) Drain();
    if (engine_->Snapshot().stuck) server_->SetEngineStuck();
    const size_t cut = Flush();
    server_->Shutdown(steady_clock::now() + kShutdownBudget);
    // Asked of the engine itself: it may have failed in the drain, and the watcher be about to say.
    const bool failed = engine_->Snapshot().failed;
    log_->Write("stopped",
                {{"flushed", cut == 0}, {"cut", uint64_t{cut}}, {"engine_failed", failed}});
    return failed ? Failure(kExitEngineFailed, engine_->WaitForFailure(), log_) : kExitOk;
  }

 private:
  void Drain() {
    const auto failed = [](const Events::State& state) { return state.failed; };
    log_->Write("draining", {{"grace_ms", static_cast<uint64_t>(options_.drain.grace.count())},
                             {"budget_ms", static_cast<uint64_t>(options_.drain.budget.count())}});
    if (events_->WaitUntil(steady_clock::now() + options_.drain.grace, failed).failed) return;
    server_->SetDraining();
    engine_->Drain(steady_clock::now() + options_.drain.budget);
  }

  // Lets clients take their last messages, as long as one of them might; how many have not.
  size_t Flush() {
    return server_->WaitForCalls(steady_clock::now() +
                                 std::min(options_.drain.flush, options_.stream.stall_timeout));
  }

  const ServerOptions& options_;
  Events* const events_;
  Log* const log_;
  // The engine goes before the server: requests that it ends on its way out are still recorded.
  std::unique_ptr<Server> server_;
  std::unique_ptr<Engine> engine_;
  std::thread watcher_;
};

// What a library throws ends here: above all where the options ask for more memory than there is.
absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const EngineFactory& make_engine,
                                                   const EngineOptions& options,
                                                   std::shared_ptr<Progress> progress) {
  const auto no_memory = [&options] {
    return absl::ResourceExhaustedError(
        absl::StrCat("not enough memory for this model with --slots=", options.schedule.slots,
                     ", --areas=", options.schedule.areas, " and --chunk=", options.schedule.chunk,
                     "; lower them, or --kv_pages and --max_context"));
  };
  try {
    return make_engine(options, std::move(progress));
  } catch (const std::bad_alloc&) {
    return no_memory();
  } catch (const std::length_error&) {  // more than could ever be had
    return no_memory();
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("cannot load the model: ", error.what()));
  }
}

// Loads on a thread of its own, so that signals are heard meanwhile. Null, and the reason in
// `*status`, if the model cannot be loaded. A signal ends the process, after `clean_up`.
std::unique_ptr<Engine> Load(const ServerOptions& options, const EngineFactory& make_engine,
                             Events* events, const std::function<void()>& clean_up, Log* log,
                             absl::Status* status) {
  const SteadyTime started = steady_clock::now();
  const auto progress = std::make_shared<Progress>();
  std::unique_ptr<Engine> engine;
  std::thread loader([&] {
    auto made = MakeEngine(make_engine, options.engine, progress);
    const absl::Status loaded = made.status();
    if (loaded.ok()) engine = *std::move(made);
    events->Loaded(loaded);
  });
  Events::State state;
  while (!state.loaded) {
    state = events->WaitUntil(steady_clock::now() + kProgressEvery,
                              [](const auto& s) { return s.loaded || s.stop; });
    if (state.loaded) break;
    if (state.stop) {
      clean_up();
      log->Write("stopped", {{"while", std::string("loading")}});
      log->Flush();
      std::_Exit(kExitOk);  // the loader cannot be interrupted, and no client waits for it
    }
    LogLoading(options.engine.model.directory, steady_clock::now() - started, progress->Get(), log);
  }
  loader.join();
  *status = *state.loaded;
  return engine;
}

}  // namespace

void Events::Stop() {
  {
    const MutexLock lock(mutex_);
    state_.stop = true;
  }
  changed_.NotifyAll();
}

void Events::Loaded(absl::Status status) {
  {
    const MutexLock lock(mutex_);
    state_.loaded = std::move(status);
  }
  changed_.NotifyAll();
}

void Events::Failed() {
  {
    const MutexLock lock(mutex_);
    state_.failed = true;
  }
  changed_.NotifyAll();
}

Events::State Events::WaitUntil(SteadyTime until, const std::function<bool(const State&)>& wanted) {
  const MutexLock lock(mutex_);
  while (!wanted(state_) && changed_.WaitUntil(mutex_, until)) {
  }
  return state_;
}

Events::State Events::Wait(const std::function<bool(const State&)>& wanted) {
  const MutexLock lock(mutex_);
  while (!wanted(state_)) changed_.Wait(mutex_);
  return state_;
}

int RunServer(const ServerOptions& options, const EngineFactory& make_engine, Events* events,
              Log* log) {
  const DescriptorLimit descriptors = RaiseDescriptorLimit();
  log->Write("descriptor_limit", {{"before", descriptors.before}, {"now", descriptors.now}});
  std::unique_ptr<PortFile> port_file;
  if (!options.listen.port_file.empty()) {
    auto prepared = PortFile::Prepare(options.listen.port_file);
    if (!prepared.ok()) return Failure(kExitCannotStart, prepared.status(), log);
    port_file = *std::move(prepared);
  }
  auto created = Server::Create(options, log);
  if (!created.ok()) return Failure(kExitCannotStart, created.status(), log);
  std::unique_ptr<Server> server = *std::move(created);
  LogListening(*server, options, log);
  if (port_file) {
    PortFile::NamedAddresses ports = {{"grpc", server->grpc_address()},
                                      {"metrics", server->metrics_address()}};
    if (server->health_address()) ports.emplace_back("health", *server->health_address());
    const absl::Status published = port_file->Publish(ports);
    if (!published.ok()) return Failure(kExitCannotStart, published, log);
  }
  const auto clean_up = [&] {
    port_file.reset();
    server.reset();
  };
  absl::Status loaded;
  std::unique_ptr<Engine> engine = Load(options, make_engine, events, clean_up, log, &loaded);
  if (engine == nullptr) return Failure(kExitCannotStart, loaded, log);
  return Run(options, events, log, std::move(server), std::move(engine)).Serve();
}

}  // namespace recurve
