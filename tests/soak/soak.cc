// SPDX-License-Identifier: Apache-2.0
#include "tests/soak/soak.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <thread>

#include "absl/strings/str_cat.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/grpc/health_service.h"
#include "server/lifecycle.h"

namespace recurve::soak {
namespace {

using std::chrono::steady_clock;

constexpr uint32_t kSlots = 4, kQueue = 12;
constexpr int kGoodThreads = 2;
constexpr std::chrono::seconds kLongestPhase(60);

// Of which one at a time is enough.
bool IsHeavy(Fault fault) {
  return fault == Fault::kFlood || fault == Fault::kDescriptors || fault == Fault::kKillClient;
}

// How many inject it at a time: more of a kind that mostly waits.
int ThreadsOf(Fault fault) {
  if (IsHeavy(fault)) return 1;
  const bool waits =
      fault == Fault::kSlow || fault == Fault::kSilent || fault == Fault::kDisconnect;
  return waits ? 9 : 3;
}

// So that kinds that take longer do not make a phase of the others' length.
uint64_t ShareOf(Fault fault, uint64_t share) {
  return std::max<uint64_t>(1, IsHeavy(fault) || fault == Fault::kVanish ? share / 20 : share);
}

// A Watch of liveness.
class LivenessWatch {
 public:
  explicit LivenessWatch(const Address& address)
      : stub_(grpc::health::v1::Health::NewStub(NewChannel(address))) {
    context_.set_wait_for_ready(true);
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(kLivenessName);
    reader_ = stub_->Watch(&context_, request);
    reader_->Read(&response_);  // SERVING
  }
  // Whether the last word was that it is not, when the call has ended.
  bool HeardOfTheEnd() {
    while (reader_->Read(&response_)) {
    }
    reader_->Finish();
    return response_.status() == grpc::health::v1::HealthCheckResponse::NOT_SERVING;
  }

 private:
  const std::unique_ptr<grpc::health::v1::Health::Stub> stub_;
  grpc::ClientContext context_;
  grpc::health::v1::HealthCheckResponse response_;
  std::unique_ptr<grpc::ClientReader<grpc::health::v1::HealthCheckResponse>> reader_;
};

}  // namespace

Soak::Soak(const Options& options, Findings* findings)
    : options_(options),
      findings_(findings),
      random_(options.seed),
      workload_(options.seed, options.vocabulary),
      share_(std::clamp<uint64_t>(options.faults / 40, 20, 1000)) {}

// Few pages, so that sequences are put back; small bounds, so that all of them are met.
std::vector<std::string> Soak::Command(const std::string& server) const {
  // One arena for all threads: else each keeps the most that it ever needed at once, and memory
  // comes to rest only after the last of them has had its worst phase.
  return {"/usr/bin/env",
          "MALLOC_ARENA_MAX=1",
          "LD_PRELOAD=" + options_.heap_report,
          server,
          "--model=" + options_.model,
          absl::StrCat("--slots=", kSlots),
          absl::StrCat("--max_queued_requests=", kQueue),
          "--kv_pages=90",
          "--chunk=16",
          "--evict_every=16",
          "--kv_sinks=2",
          "--kv_recent=8",
          "--threads=1",
          "--max_connections=400",
          "--stream_stall_timeout=10s",  // of clients on a busy machine
          absl::StrCat("--stream_buffer_tokens=", kMostTokens),
          "--drain_budget=1s",
          "--drain_flush=2s"};
}

bool Soak::TakePlace(std::unique_ptr<Subject> subject) {
  if (subject == nullptr) {
    findings_->Add("a server did not start");
    return false;
  }
  life_.emplace();
  life_->subject = std::move(subject);
  life_->injector = std::make_unique<Injector>(life_->subject.get(), &workload_, options_.self,
                                               kSlots + kQueue, findings_, &ends_);
  return true;
}

bool Soak::Begin() {
  if (!TakePlace(Subject::Start(Command(options_.server), options_.directory))) return false;
  if (workload_.at(0).tokens.empty() && !workload_.Learn(life_->subject->address(), findings_)) {
    return false;
  }
  // Every kind at once, so that memory has been at its most.
  std::vector<Fault> kinds;
  for (int kind = 0; kind < static_cast<int>(Fault::kVanish); ++kind) {
    kinds.push_back(static_cast<Fault>(kind));
  }
  Mix(kinds, std::max<uint64_t>(share_ / 4, 10), /*ending=*/false, [] {});
  life_->rest = CheckRest(*life_->subject, findings_);
  return !findings_->any();
}

void Soak::End() {
  if (!life_) return;
  life_->subject->Signal(SIGTERM);
  if (const int code = life_->subject->Wait(); code != kExitOk) {
    findings_->Add(absl::StrCat("a server at rest ended with ", code));
  }
  life_.reset();
}

uint64_t Soak::Run() {
  const auto began = steady_clock::now();
  while (done_ < options_.faults && !findings_->any()) {
    if (options_.seconds && steady_clock::now() - began >= *options_.seconds) break;
    if (!life_ && !Begin()) break;
    RunPhase(Draw());
  }
  if (!findings_->any()) End();
  std::printf("%lu faults in %lu phases, %lu calls without:", done_.load(), phases_, good_.load());
  for (size_t kind = 0; kind < by_kind_.size(); ++kind) {
    std::printf(" %s=%lu", std::string(kFaultNames[kind]).c_str(), by_kind_[kind].load());
  }
  std::printf("\ncalls by their ends:");
  for (const auto& [what, count] : ends_.counts()) std::printf(" %s=%lu", what.c_str(), count);
  std::printf("\n");
  return done_;
}

Phase Soak::Draw() {
  if (!options_.phases.empty()) return options_.phases[phases_ % options_.phases.size()];
  constexpr uint64_t kOrdinary = static_cast<uint64_t>(Fault::kVanish);
  const auto one = static_cast<Fault>(Below(&random_, kOrdinary));
  // Every sixth phase ends the server.
  if (phases_ % 6 == 5) {
    return {static_cast<Fault>(kOrdinary + 1 + Below(&random_, 3)), one};
  }
  return {static_cast<Fault>(Below(&random_, kOrdinary)), one};
}

void Soak::RunPhase(const Phase& phase) {
  const auto began = steady_clock::now();
  ++phases_;
  if (phase.first == Fault::kTerminate) {
    Terminate(phase.second);
  } else if (EndsServer(phase.first)) {
    End();
    BreakStep(phase.first, phase.second);
  } else {
    Mix({phase.first, phase.second}, share_, /*ending=*/false, [] {});
    if (life_->injector->vanished() > 0) AwaitVanished();
    CheckEverySlot(*life_->subject, workload_, kSlots, findings_);
    if (!life_->subject->there()) findings_->Add("the server is gone");
    if (!findings_->any()) CheckBalance(*life_->subject, life_->rest, findings_);
  }
  Tell(phase, began);
}

template <typename During>
void Soak::Mix(const std::vector<Fault>& kinds, uint64_t share, bool ending, const During& during) {
  const Address address = life_->subject->address();
  const auto until = steady_clock::now() + kLongestPhase;
  std::atomic<bool> over = false;
  std::vector<std::thread> threads, good;
  for (const Fault kind : kinds) {
    auto left = std::make_shared<std::atomic<int64_t>>(ShareOf(kind, share));
    for (int i = 0; i < ThreadsOf(kind); ++i) {
      threads.emplace_back([&, kind, left, seed = random_()] {
        Random random(seed);
        const auto channel = NewChannel(address);
        while (!over && steady_clock::now() < until && --*left >= 0) {
          life_->injector->Inject(kind, channel, ending, &random);
          ++done_;
          ++by_kind_[static_cast<size_t>(kind)];
        }
      });
    }
  }
  for (int i = 0; i < kGoodThreads; ++i) {
    good.emplace_back([&, seed = random_()] {
      Random random(seed);
      const auto channel = NewChannel(address);
      while (!over) {
        const bool streams = Below(&random, 4) > 0;
        workload_.Call(channel, workload_.Draw(&random), {}, streams, ending, findings_, &ends_);
        ++good_;
        if (ending) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // it may be gone
      }
    });
  }
  during();
  if (ending) over = true;
  for (std::thread& thread : threads) thread.join();
  over = true;
  for (std::thread& thread : good) thread.join();
}

void Soak::Terminate(Fault other) {
  int code = -1;
  Mix({other}, share_, /*ending=*/true, [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(Below(&random_, 1000)));
    life_->subject->Signal(SIGTERM);
    code = life_->subject->Wait();
  });
  ++done_;
  ++by_kind_[static_cast<size_t>(Fault::kTerminate)];
  if (code != kExitOk) findings_->Add(absl::StrCat("SIGTERM under load: exit code ", code));
  life_.reset();
}

void Soak::BreakStep(Fault how, Fault other) {
  std::vector<std::string> command = Command(options_.faulty_server);
  command.insert(command.begin(),
                 {"/usr/bin/env", absl::StrCat("RECURVE_SOAK_STEP=", 20 + Below(&random_, 1000)),
                  absl::StrCat("RECURVE_SOAK_HANGS=", how == Fault::kHangStep ? 1 : 0)});
  // Short here alone: on a busy machine an honest step may take seconds.
  command.push_back("--step_timeout=2s");
  if (!TakePlace(Subject::Start(command, options_.directory))) return;
  LivenessWatch watch(life_->subject->address());
  bool heard = false;
  int code = -1;
  Mix({other}, share_, /*ending=*/true, [&] {
    heard = watch.HeardOfTheEnd();
    code = life_->subject->Wait();
  });
  ++done_;
  ++by_kind_[static_cast<size_t>(how)];
  if (!heard) findings_->Add("liveness did not say that a step is broken");
  if (code != kExitEngineFailed) findings_->Add(absl::StrCat("a broken step: exit code ", code));
  life_.reset();
}

// The server asks after them every 30 s, and waits 20 s for an answer.
void Soak::AwaitVanished() {
  const auto gone = [this] {
    return life_->subject->metrics().Sum("recurve_connections_open") == 0;
  };
  if (!WaitUntil(gone, std::chrono::seconds(120))) {
    findings_->Add("connections of peers that vanished stay open");
  }
  life_->injector->ForgetVanished();
}

void Soak::Tell(const Phase& phase, steady_clock::time_point began) {
  const double seconds = std::chrono::duration<double>(steady_clock::now() - began).count();
  const Subject* subject = life_ ? life_->subject.get() : nullptr;
  std::printf("phase %lu: %s + %s, %.1f s, %lu faults so far", phases_,
              std::string(NameOf(phase.first)).c_str(), std::string(NameOf(phase.second)).c_str(),
              seconds, done_.load());
  if (subject != nullptr) {
    std::printf(
        ", %.1f MiB in use (%.1f after the warm-up), %.1f resident (%.1f), %lu descriptors, %.0f "
        "preemptions",
        subject->in_use_mib(), life_->rest.in_use_mib, subject->resident_mib(),
        life_->rest.resident_mib, subject->descriptors(),
        subject->metrics().Sum("recurve_preemptions_total"));
  }
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace recurve::soak
