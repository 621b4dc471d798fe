// SPDX-License-Identifier: Apache-2.0
#include "tests/soak/balance.h"

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace recurve::soak {
namespace {

// Zero at rest, by their series.
constexpr const char* kZero[] = {"recurve_requests_running",
                                 "recurve_requests_waiting",
                                 "recurve_waiting_tokens",
                                 "recurve_streams_open",
                                 "recurve_texts_waiting",
                                 "recurve_connections_open",
                                 "recurve_egress_backlog_tokens",
                                 "recurve_kv_entries",
                                 "recurve_kv_pages",
                                 "recurve_kv_cache_usage_ratio",
                                 "recurve_engine_step_age_seconds"};

std::string NotZero(const MetricsPage& page) {
  std::string found;
  for (const char* name : kZero) {
    if (page.Sum(name) != 0) absl::StrAppend(&found, " ", name, "=", page.Sum(name));
  }
  return found;
}

// Admitted is what the engine counts when it accepts, and ended what the server counts when it
// tells the client: the tokens of their prompts on both sides, and their number on the second.
void CheckAccounts(const MetricsPage& page, Findings* findings) {
  const double finished = page.Sum("recurve_request_finished_total");
  const double rejected = page.Sum("recurve_admission_rejections_total");
  const double calls = page.Sum("recurve_requests_total", "method=\"Generate\"") +
                       page.Sum("recurve_requests_total", "method=\"Complete\"");
  if (calls != finished + rejected) {
    findings->Add(
        absl::StrCat(calls, " calls, but ", finished, " ended and ", rejected, " were refused"));
  }
  const double ended = page.Sum("recurve_request_prompt_tokens_count");
  const double admitted_tokens = page.Sum("recurve_prompt_tokens_total");
  const double ended_tokens = page.Sum("recurve_request_prompt_tokens_sum");
  if (ended != finished || admitted_tokens != ended_tokens) {
    findings->Add(absl::StrCat("admitted requests had ", admitted_tokens,
                               " prompt tokens, those that ended ", ended_tokens, "; ", ended,
                               " ended for ", finished, " reasons"));
  }
}

}  // namespace

Rest CheckRest(const Subject& subject, Findings* findings) {
  if (!WaitUntil([&] { return NotZero(subject.metrics()).empty(); })) {
    findings->Add("a server at rest has" + NotZero(subject.metrics()));
  }
  CheckAccounts(subject.metrics(), findings);
  {
    const auto stub = v1::GenerationService::NewStub(NewChannel(subject.address()));
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
    v1::GetLoadResponse load;
    const grpc::Status status = stub->GetLoad(&context, {}, &load);
    if (!status.ok() || load.kv_pages_free() + load.kv_pages_cached() != load.kv_pages() ||
        load.requests_running() + load.requests_waiting() != 0) {
      findings->Add(
          absl::StrCat("GetLoad at rest: ", status.error_message(), " ", load.ShortDebugString()));
    }
  }
  WaitUntil([&] { return NotZero(subject.metrics()).empty(); });
  return {subject.descriptors(), subject.resident_mib(), subject.in_use_mib()};
}

Rest CheckBalance(const Subject& subject, const Rest& before, Findings* findings) {
  CheckRest(subject, findings);
  // gRPC closes some of its own a little later.
  if (!WaitUntil([&] { return subject.descriptors() <= before.descriptors; })) {
    findings->Add(absl::StrCat(subject.descriptors(), " descriptors are open, ", before.descriptors,
                               " were before"));
  }
  const Rest now{subject.descriptors(), subject.resident_mib(), subject.in_use_mib()};
  if (now.in_use_mib > before.in_use_mib + kMostGrowthMib) {
    findings->Add(
        absl::StrCat(now.in_use_mib, " MiB are in use, ", before.in_use_mib, " were before"));
  }
  if (now.resident_mib > before.resident_mib + kMostResidentGrowthMib) {
    findings->Add(
        absl::StrCat(now.resident_mib, " MiB are resident, ", before.resident_mib, " were before"));
  }
  return now;
}

void CheckEverySlot(const Subject& subject, const Workload& workload, uint32_t slots,
                    Findings* findings) {
  const auto channel = NewChannel(subject.address());
  Ends ends;
  std::vector<std::thread> clients;
  for (uint32_t i = 0; i < slots; ++i) {
    clients.emplace_back([&, i] {
      workload.Call(channel, workload.at(i % workload.size()), {}, /*streams=*/true,
                    /*ending=*/false, findings, &ends);
    });
  }
  for (std::thread& client : clients) client.join();
  if (ends.counts()["OK"] != slots) findings->Add("a server at rest refuses calls");
}

}  // namespace recurve::soak
