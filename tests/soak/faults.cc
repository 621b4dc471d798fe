// SPDX-License-Identifier: Apache-2.0
#include "tests/soak/faults.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace recurve::soak {
namespace {

using std::chrono::milliseconds;

void Sleep(milliseconds time) { std::this_thread::sleep_for(time); }

}  // namespace

Injector::Injector(Subject* subject, const Workload* workload, std::string client,
                   uint32_t capacity, Findings* findings, Ends* ends)
    : subject_(subject),
      workload_(workload),
      client_(std::move(client)),
      capacity_(capacity),
      findings_(findings),
      ends_(ends) {}

void Injector::Inject(Fault fault, const std::shared_ptr<grpc::Channel>& channel, bool ending,
                      Random* random) {
  const Known& known = workload_->Draw(random);
  Workload::Intent intent;
  const bool streams = Below(random, 4) > 0;
  switch (fault) {
    case Fault::kCancel:
      intent.cancel_after = static_cast<int>(Below(random, 8));
      return workload_->Call(channel, known, intent, streams, ending, findings_, ends_);
    case Fault::kDeadline:
      intent.deadline = std::chrono::microseconds(1 + Below(random, 20000));
      return workload_->Call(channel, known, intent, streams, ending, findings_, ends_);
    case Fault::kDisconnect:
      return Disconnect(random);
    case Fault::kSlow:
      return ReadSlowly(random);
    case Fault::kMalformed:
      return Misbehave(subject_->address(), known.bytes, random);
    case Fault::kSilent:
      return StaySilent(random);
    case Fault::kFlood:
      return Flood(random);
    case Fault::kDescriptors:
      return TakeDescriptors(random);
    case Fault::kKillClient:
      return KillClient(random);
    default:
      return Vanish(random);
  }
}

void Injector::Disconnect(Random* random) {
  RawConnection connection(subject_->address());
  if (!connection.valid()) return;
  std::string bytes = Preface();
  for (uint32_t stream = 1; stream <= 1 + 2 * Below(random, 3); stream += 2) {
    bytes += CallFrames(stream, "Generate", workload_->Draw(random).bytes);
  }
  connection.Send(bytes);
  connection.ReadFor(milliseconds(Below(random, 30)));
  if (Below(random, 2) == 0) return connection.CloseWithRst();
  connection.CloseWithFin();
}

void Injector::ReadSlowly(Random* random) {
  RawConnection connection(subject_->address());
  if (!connection.valid()) return;
  connection.Send(Preface(static_cast<uint32_t>(Below(random, 300))) +
                  CallFrames(1, "Generate", workload_->long_bytes()));
  connection.ReadFor(milliseconds(Below(random, 200)));
}

void Injector::StaySilent(Random* random) {
  std::vector<RawConnection> connections;
  for (uint64_t i = 1 + Below(random, 5); i > 0; --i) {
    connections.emplace_back(subject_->address());
    if (connections.back().valid()) {
      connections.back().Send(std::string_view("PRI * HTTP/2.0").substr(0, Below(random, 15)));
    }
  }
  Sleep(milliseconds(Below(random, 50)));
}

void Injector::Flood(Random* random) {
  const uint32_t calls = 10 * capacity_;
  const std::unique_ptr<v1::GenerationService::Stub> stub =
      v1::GenerationService::NewStub(NewChannel(subject_->address()));
  struct Call {
    grpc::ClientContext context;
    v1::CompleteResponse response;
    grpc::Status status;
    std::unique_ptr<grpc::ClientAsyncResponseReader<v1::CompleteResponse>> reader;
  };
  std::vector<Call> all(calls);
  grpc::CompletionQueue queue;
  for (Call& call : all) {
    call.reader = stub->AsyncComplete(&call.context, workload_->Draw(random).request, &queue);
    call.reader->Finish(&call.response, &call.status, &call);
  }
  const bool leaves = Below(random, 4) == 0;  // without waiting for the answers
  if (leaves) {
    for (Call& call : all) call.context.TryCancel();
  }
  void* tag = nullptr;
  bool ok = false;
  for (uint32_t i = 0; i < calls; ++i) {
    queue.Next(&tag, &ok);
    ends_->Count(absl::StrCat("flood ", static_cast<Call*>(tag)->status.error_code()));
  }
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  // Nobody but a call waits for this connection's socket: what the cancelled calls have left to
  // write would stay unwritten, and the connection open, after the channel is gone.
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  v1::GetLoadResponse load;
  stub->GetLoad(&context, {}, &load);
}

void Injector::TakeDescriptors(Random* random) {
  const std::lock_guard lock(one_at_a_time_);
  rlimit before{};
  if (prlimit(subject_->pid(), RLIMIT_NOFILE, nullptr, &before) != 0) return;  // it has ended
  rlimit lower = before;
  lower.rlim_cur = subject_->descriptors() + Below(random, 4);
  prlimit(subject_->pid(), RLIMIT_NOFILE, &lower, nullptr);
  std::vector<RawConnection> connections;
  for (uint64_t i = 1 + Below(random, 12); i > 0; --i) {
    connections.emplace_back(subject_->address());
    if (connections.back().valid()) {
      connections.back().Send(Preface() + CallFrames(1, "Generate", workload_->Draw(random).bytes));
    }
  }
  Sleep(milliseconds(Below(random, 60)));
  prlimit(subject_->pid(), RLIMIT_NOFILE, &before, nullptr);
}

void Injector::KillClient(Random* random) {
  const pid_t client = Spawn(
      {client_, "--client=" + subject_->address().ToString(), absl::StrCat("--seed=", (*random)())},
      "/dev/null");
  if (client < 0) return findings_->Add("no client could be started");
  Sleep(milliseconds(20 + Below(random, 150)));
  kill(client, SIGKILL);
  waitpid(client, nullptr, 0);
}

void Injector::Vanish(Random* random) {
  RawConnection connection(subject_->address());
  if (!connection.valid()) return;
  connection.Send(Preface() + CallFrames(1, "Generate", workload_->Draw(random).bytes));
  connection.ReadFor(milliseconds(Below(random, 20)));
  const std::lock_guard lock(mutex_);
  vanished_.push_back(connection.Vanish());
}

size_t Injector::vanished() {
  const std::lock_guard lock(mutex_);
  return vanished_.size();
}

void Injector::ForgetVanished() {
  const std::lock_guard lock(mutex_);
  vanished_.clear();
}

}  // namespace recurve::soak
