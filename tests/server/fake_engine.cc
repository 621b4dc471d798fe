// SPDX-License-Identifier: Apache-2.0
#include "tests/server/fake_engine.h"

#include <utility>

namespace recurve {

using std::chrono::steady_clock;

namespace {

Finish EndedWith(absl::Status status) {
  Finish finish;
  finish.status = std::move(status);
  return finish;
}

EngineInfo MakeInfo() {
  EngineInfo info;
  info.model_name = "fake";
  info.backend = "cpu";
  info.precision = "f32";
  info.isa = "scalar";
  info.sharing = "middle_cycle";
  info.router = "expert_choice";
  info.kv_mode = "recursion_wise";
  info.vocab_size = 257;
  info.max_context = 512;
  info.recursions = 3;
  info.router_threshold = 0.5F;
  info.eos_token_ids = {0, 7};
  info.parameters = 1234;
  info.has_tokenizer = true;
  info.kv_pages = 100;
  info.kv_page_bytes = 4096;
  info.kv_page_entries = 16;
  info.warnings = {"a warning"};
  return info;
}

}  // namespace

FakeEngine::FakeEngine(std::optional<Script> script)
    : script_(std::move(script)), info_(MakeInfo()), loop_([this] { Loop(); }) {}

FakeEngine::~FakeEngine() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    EndAllLocked(EndedWith(absl::CancelledError("the engine is destroyed")));
    changed_.notify_all();
  }
  loop_.join();
}

void FakeEngine::RefuseWith(absl::Status status) {
  const std::lock_guard lock(mutex_);
  refusal_ = std::move(status);
}

Request FakeEngine::WaitForRequest(size_t index) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return accepted_.size() > index; });
  return accepted_[index];
}

void FakeEngine::OnLoop(std::function<void()> job) {
  bool done = false;
  std::unique_lock lock(mutex_);
  jobs_.push_back([&] {
    job();
    done = true;
  });
  changed_.notify_all();
  changed_.wait(lock, [&] { return done; });
}

void FakeEngine::EmitPromptLogprobs(RequestId id, std::vector<PositionLogprobs> logprobs) {
  OnLoop([&] {
    const auto found = running_.find(id);
    if (found != running_.end()) found->second.sink->OnPromptLogprobs(std::move(logprobs));
  });
}

void FakeEngine::Emit(RequestId id, std::vector<TokenEvent> tokens) {
  OnLoop([&] {
    const auto found = running_.find(id);
    if (found != running_.end()) EmitLocked(found->second, std::move(tokens));
  });
}

void FakeEngine::HoldBack(RequestId id, uint32_t tokens) {
  OnLoop([&] {
    const auto found = running_.find(id);
    if (found == running_.end()) return;
    found->second.emitted += tokens;
    generated_ += tokens;
  });
}

void FakeEngine::End(RequestId id, Finish finish) {
  OnLoop([&] { EndLocked(id, std::move(finish)); });
}

void FakeEngine::Fail(absl::Status status) {
  OnLoop([&] {
    failure_ = std::move(status);
    EndAllLocked(EndedWith(absl::UnavailableError("the engine has failed")));
  });
}

void FakeEngine::IgnoreCancels() {
  const std::lock_guard lock(mutex_);
  ignore_cancels_ = true;
}

void FakeEngine::HoldTokenize() {
  const std::lock_guard lock(mutex_);
  hold_tokenize_ = true;
}

void FakeEngine::ReleaseTokenize() {
  const std::lock_guard lock(mutex_);
  hold_tokenize_ = false;
  changed_.notify_all();
}

void FakeEngine::WaitForTokenize(int held) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return held_tokenize_ >= held; });
}

void FakeEngine::WithholdFailure() {
  const std::lock_guard lock(mutex_);
  withhold_failure_ = true;
}

void FakeEngine::WaitUntilEnded(RequestId id) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return accepted_.size() >= id && running_.count(id) == 0; });
}

void FakeEngine::EndDrain() {
  const std::lock_guard lock(mutex_);
  drain_over_ = true;
  changed_.notify_all();
}

bool FakeEngine::draining() {
  const std::lock_guard lock(mutex_);
  return draining_;
}

size_t FakeEngine::num_running() {
  const std::lock_guard lock(mutex_);
  return running_.size();
}

size_t FakeEngine::num_accepted() {
  const std::lock_guard lock(mutex_);
  return accepted_.size();
}

absl::StatusOr<Engine::Started> FakeEngine::Start(Request request,
                                                  std::vector<std::shared_ptr<RequestSink>> sinks) {
  const std::lock_guard lock(mutex_);
  if (!failure_.ok()) return absl::UnavailableError("the engine has failed");
  if (draining_) return absl::UnavailableError("the server is draining");
  if (!refusal_.ok()) return refusal_;
  Running running;
  if (const auto* ids = std::get_if<std::vector<uint32_t>>(&request.prompt)) {
    running.prompt_tokens = static_cast<uint32_t>(ids->size());
  } else {
    running.prompt_tokens = static_cast<uint32_t>(std::get<std::string>(request.prompt).size());
  }
  const RequestId first = accepted_.size() + 1;
  for (std::shared_ptr<RequestSink>& sink : sinks) {
    accepted_.push_back(request);
    running.sink = std::move(sink);
    running_[accepted_.size()] = running;
  }
  changed_.notify_all();
  return Started{first, running.prompt_tokens};
}

void FakeEngine::Cancel(RequestId id) {
  const std::lock_guard lock(mutex_);
  if (ignore_cancels_) return;
  jobs_.push_back([this, id] { EndLocked(id, EndedWith(absl::CancelledError("cancelled"))); });
  changed_.notify_all();
}

void FakeEngine::Drain(SteadyTime until) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  changed_.wait_until(lock, until, [this] { return running_.empty() || drain_over_; });
  Finish drained;
  drained.reason = EndReason::kDrained;
  EndAllLocked(drained);
}

absl::Status FakeEngine::WaitForFailure() {
  std::unique_lock lock(mutex_);
  const bool failed_before = !failure_.ok();
  changed_.wait(lock, [&] {
    return waiting_stopped_ || failed_before || (!failure_.ok() && !withhold_failure_);
  });
  return failure_;
}

void FakeEngine::StopWaiting() {
  const std::lock_guard lock(mutex_);
  waiting_stopped_ = true;
  changed_.notify_all();
}

void FakeEngine::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    const bool scripted = script_ && !running_.empty();
    if (jobs_.empty() && !scripted) {
      if (stopping_) return;
      changed_.wait(lock);
      continue;
    }
    while (!jobs_.empty()) {
      const auto job = std::move(jobs_.front());
      jobs_.pop_front();
      job();
      changed_.notify_all();
    }
    if (script_) {
      StepLocked();
      lock.unlock();  // let others in between two steps
      std::this_thread::yield();
      lock.lock();
    }
  }
}

void FakeEngine::StepLocked() {
  std::vector<RequestId> ended;
  for (auto& [id, running] : running_) {
    if (running.emitted < script_->tokens.size()) {
      EmitLocked(running, {script_->tokens[running.emitted]});
    } else {
      ended.push_back(id);
    }
  }
  Finish finish;
  finish.reason = script_->reason;
  for (const RequestId id : ended) EndLocked(id, finish);
}

void FakeEngine::EmitLocked(Running& running, std::vector<TokenEvent> tokens) {
  running.emitted += static_cast<uint32_t>(tokens.size());
  generated_ += tokens.size();
  running.last_token = steady_clock::now();
  if (!running.first_token) running.first_token = running.last_token;
  running.sink->OnTokens(std::move(tokens), running.emitted);
}

void FakeEngine::EndLocked(RequestId id, Finish finish) {
  const auto found = running_.find(id);
  if (found == running_.end()) return;
  const Running running = std::move(found->second);
  running_.erase(found);
  finish.prompt_tokens = running.prompt_tokens;
  finish.generated_tokens = running.emitted;
  finish.prompt_depth = {{1, 0, 1}, {1, 0, 1}};
  finish.generated_depth = {{running.emitted, 0, 0}, {0, running.emitted, 0}};
  if (!absl::IsResourceExhausted(finish.status)) finish.admitted = accepted_[id - 1].arrival;
  finish.first_token = running.first_token;
  finish.last_token = running.last_token;
  finish.ended = steady_clock::now();
  running.sink->OnFinished(std::move(finish));
  changed_.notify_all();
}

void FakeEngine::EndAllLocked(const Finish& finish) {
  while (!running_.empty()) EndLocked(running_.begin()->first, finish);
}

EngineSnapshot FakeEngine::Snapshot() const {
  const std::lock_guard lock(mutex_);
  EngineSnapshot snapshot;
  snapshot.schedule.running = static_cast<uint32_t>(running_.size());
  snapshot.schedule.waiting = 2;
  snapshot.schedule.waiting_tokens = 30;
  snapshot.schedule.pages_free = 75;
  snapshot.schedule.pages_cached = 5;
  snapshot.schedule.pages_reserved = 20;
  snapshot.schedule.pages_packed = 21.875;
  snapshot.schedule.prefix_tokens_wanted = 50;
  snapshot.schedule.prefix_tokens_found = 40;
  snapshot.schedule.groups = {{"entry", 5, 0, 0, 1, {}},
                              {"1", 40, 0, 0, 10, {}},
                              {"2", 20, 0, 0, 8, {1, 2, 4}},
                              {"3", 10, 0, 0, 5, {}},
                              {"exit", 5, 0, 0, 1, {}}};
  snapshot.schedule.depth_cap = 2;
  snapshot.draining = draining_;
  snapshot.failed = !failure_.ok();
  snapshot.encoded_bytes = 300;
  snapshot.prompt_tokens = 60;
  snapshot.schedule.generated_tokens = generated_;
  snapshot.steps.count = 9;
  snapshot.schedule.preemptions_for_memory = 3;
  snapshot.schedule.preemptions_for_priority = 2;
  snapshot.schedule.recompute_time = std::chrono::milliseconds(1500);
  snapshot.schedule.recomputed_tokens = 17;
  snapshot.schedule.lowered_tokens = 12;
  snapshot.schedule.recursions_given_up = 19;
  snapshot.schedule.prompt_depth = {{10, 20, 30}, {10, 20, 30}};
  snapshot.schedule.generated_depth = {{3, 2, 1}, {2, 2, 0}};
  StepTotals::Histogram histogram;
  histogram.bounds = {0.001, 0.01};
  histogram.counts = {4, 3, 2};
  histogram.sum = 0.5;
  snapshot.steps.seconds = snapshot.steps.batch_tokens = histogram;
  snapshot.steps.batch_sequences = histogram;
  snapshot.steps.batch_sequences.sum = 2.5;
  for (int part = 0; part < StepTotals::kParts; ++part) {
    snapshot.steps.part_rows[part] = 100 + part;
    snapshot.steps.part_step_seconds[part] = histogram;
  }
  return snapshot;
}

absl::StatusOr<std::vector<uint32_t>> FakeEngine::Tokenize(std::string_view text,
                                                           bool add_special_tokens) const {
  {
    std::unique_lock lock(mutex_);
    ++held_tokenize_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !hold_tokenize_; });
    --held_tokenize_;
  }
  std::vector<uint32_t> ids;
  if (add_special_tokens) ids.push_back(256);
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

absl::StatusOr<std::string> FakeEngine::Detokenize(const std::vector<uint32_t>& ids,
                                                   bool skip_special_tokens) const {
  std::string text;
  for (const uint32_t id : ids) {
    if (id > 256) return absl::InvalidArgumentError("ids[0] is 300; it must be less than 257");
    if (id < 256 || !skip_special_tokens) text += TokenText(id);
  }
  return text;
}

std::string FakeEngine::TokenText(uint32_t id) const {
  return id == 256 ? "<s>" : std::string(1, static_cast<char>(id));
}

std::vector<TokenEvent> MakeTokens(const std::vector<std::string>& texts) {
  std::vector<TokenEvent> tokens;
  for (const std::string& text : texts) {
    TokenEvent token;
    token.id = static_cast<uint32_t>(tokens.size());
    token.depth = token.id % 3 + 1;
    token.text = text;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace recurve
