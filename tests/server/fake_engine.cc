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
  info.kv_precision = "f32";
  info.isa = "scalar";
  info.sharing = "middle_cycle";
  info.router = "expert_choice";
  info.kv_mode = "recursion_wise";
  info.device_memory = {{"cache pages", 4096}};
  info.vocab_size = 257;
  info.max_context = 512;
  info.recursions = 3;
  info.router_threshold = 0.5F;
  info.eos_token_ids = {0, 7};
  info.parameters = 1234;
  info.has_tokenizer = true;
  info.chat.templates = {{"default", "{{ messages }}"}};
  info.chat.special_tokens = {{"bos_token", "<s>"}};
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
    jobs_.push_back([this] { EndAll(EndedWith(absl::CancelledError("the engine is destroyed"))); });
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
  jobs_.push_back(std::move(job));
  jobs_.push_back([&done] { done = true; });  // the sinks have been told in between
  changed_.notify_all();
  changed_.wait(lock, [&] { return done; });
}

void FakeEngine::EmitPromptLogprobs(SampleId id, std::vector<PositionLogprobs> logprobs) {
  OnLoop([this, id, &logprobs] {
    Running* const running = Find(id);
    if (running == nullptr) return;
    calls_.push_back([sink = running->sink, sample = running->sample, told = std::move(logprobs)] {
      sink->OnPromptLogprobs(sample, told);
    });
  });
}

void FakeEngine::Emit(SampleId id, std::vector<OwnedToken> tokens) {
  OnLoop([this, id, &tokens] {
    if (Running* const running = Find(id)) Emit(running, std::move(tokens));
  });
}

void FakeEngine::HoldBack(SampleId id, uint32_t tokens) {
  OnLoop([this, id, tokens] {
    Running* const running = Find(id);
    if (running == nullptr) return;
    running->emitted += tokens;
    generated_ += tokens;
  });
}

void FakeEngine::End(SampleId id, Finish finish) {
  OnLoop([this, id, &finish] { EndSample(id, std::move(finish)); });
}

void FakeEngine::Fail(absl::Status status) {
  OnLoop([this, &status] {
    failure_ = std::move(status);
    EndAll(EndedWith(absl::UnavailableError("the engine has failed")));
  });
}

void FakeEngine::GetStuck() {
  const std::lock_guard lock(mutex_);
  stuck_ = true;
  failure_ = absl::DeadlineExceededError("a step has not come back");
  changed_.notify_all();
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

void FakeEngine::WaitUntilEnded(SampleId id) {
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

absl::StatusOr<Engine::Accepted> FakeEngine::Start(Request request,
                                                   std::shared_ptr<RequestSink> sink) {
  const std::lock_guard lock(mutex_);
  if (!failure_.ok()) return absl::UnavailableError("the engine has failed");
  if (draining_) return absl::UnavailableError("the server is draining");
  if (!refusal_.ok()) return refusal_;
  Running running;
  running.sink = std::move(sink);
  if (const auto* ids = std::get_if<std::vector<uint32_t>>(&request.prompt)) {
    running.prompt_tokens = static_cast<uint32_t>(ids->size());
  } else {
    running.prompt_tokens = static_cast<uint32_t>(std::get<std::string>(request.prompt).size());
  }
  constexpr uint32_t kNewTokens = 100;
  absl::Status prepared =
      running.sink->OnPrepared(running.prompt_tokens, request.max_tokens.value_or(kNewTokens));
  if (!prepared.ok()) return prepared;
  const SampleId first = accepted_.size() + 1;
  for (running.sample = 0; running.sample < request.samples; ++running.sample) {
    accepted_.push_back(request);
    running_[accepted_.size()] = running;
  }
  changed_.notify_all();
  return Accepted{first, running.prompt_tokens};
}

void FakeEngine::Cancel(SampleId id) {
  const std::lock_guard lock(mutex_);
  if (ignore_cancels_) return;
  jobs_.push_back([this, id] { EndSample(id, EndedWith(absl::CancelledError("cancelled"))); });
  changed_.notify_all();
}

void FakeEngine::Drain(SteadyTime until) {
  std::unique_lock lock(mutex_);
  draining_ = true;
  const auto over = [this] { return running_.empty() || !failure_.ok(); };
  changed_.wait_until(lock, until, [&] { return over() || drain_over_; });
  Finish drained;
  drained.reason = EndReason::kDrained;
  jobs_.push_back([this, drained] { EndAll(drained); });
  changed_.notify_all();
  changed_.wait(lock, over);
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
    if (stuck_ || (jobs_.empty() && !scripted)) {
      if (stopping_) return;
      changed_.wait(lock);
      continue;
    }
    while (!stuck_ && !jobs_.empty()) {
      const auto job = std::move(jobs_.front());
      jobs_.pop_front();
      job();
      TellSinks(&lock);
    }
    if (script_ && !stuck_) Step();
    TellSinks(&lock);
  }
}

void FakeEngine::TellSinks(std::unique_lock<std::mutex>* lock) {
  const std::vector<std::function<void()>> calls = std::exchange(calls_, {});
  lock->unlock();
  for (const auto& call : calls) call();
  std::this_thread::yield();  // lets others in between two steps
  lock->lock();
  std::erase_if(running_, [](const auto& entry) { return entry.second.ended; });
  changed_.notify_all();
}

FakeEngine::Running* FakeEngine::Find(SampleId id) {
  const auto found = running_.find(id);
  return found == running_.end() || found->second.ended ? nullptr : &found->second;
}

void FakeEngine::Step() {
  Finish finish;
  finish.reason = script_->reason;
  for (auto& [id, running] : running_) {
    if (running.emitted < script_->tokens.size()) {
      Emit(&running, {script_->tokens[running.emitted]});
    } else {
      EndSample(id, finish);
    }
  }
}

void FakeEngine::Emit(Running* running, std::vector<OwnedToken> tokens) {
  if (!running->last_token) {
    calls_.push_back([sink = running->sink, sample = running->sample] { sink->OnStarted(sample); });
  }
  running->emitted += static_cast<uint32_t>(tokens.size());
  generated_ += tokens.size();
  running->last_token = steady_clock::now();
  if (!running->first_token) running->first_token = running->last_token;
  calls_.push_back(
      [sink = running->sink, sample = running->sample, told = std::move(tokens),
       emitted = running->emitted] { sink->OnTokens(sample, EventsOf(told), emitted); });
}

void FakeEngine::EndSample(SampleId id, Finish finish) {
  Running* const running = Find(id);
  if (running == nullptr) return;
  running->ended = true;
  finish.prompt_tokens = running->prompt_tokens;
  finish.generated_tokens = running->emitted;
  finish.prompt_depth = {{1, 0, 1}, {1, 0, 1}};
  finish.generated_depth = {{running->emitted, 0, 0}, {0, running->emitted, 0}};
  if (!absl::IsResourceExhausted(finish.status)) finish.admitted = accepted_[id - 1].arrival;
  finish.first_token = running->first_token;
  finish.last_token = running->last_token;
  finish.ended = steady_clock::now();
  calls_.push_back([sink = running->sink, sample = running->sample, told = std::move(finish)] {
    sink->OnFinished(sample, told);
  });
}

void FakeEngine::EndAll(const Finish& finish) {
  for (const auto& [id, running] : running_) EndSample(id, finish);
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
  snapshot.schedule.ends_min = 3;
  snapshot.schedule.prompt_rows = 48;
  snapshot.draining = draining_;
  snapshot.failed = !failure_.ok();
  snapshot.stuck = stuck_;
  snapshot.encoded_bytes = 300;
  snapshot.prompt_tokens = 60;
  snapshot.schedule.generated_tokens = generated_;
  snapshot.steps.count = 9;
  snapshot.schedule.preemptions_for_memory = 3;
  snapshot.schedule.preemptions_for_priority = 2;
  snapshot.schedule.recompute_time = std::chrono::milliseconds(1500);
  snapshot.schedule.recomputed_tokens = 17;
  snapshot.schedule.full_plans = 6;
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

std::vector<OwnedToken> MakeTokens(const std::vector<std::string>& texts) {
  std::vector<OwnedToken> tokens;
  for (const std::string& text : texts) {
    OwnedToken token;
    token.id = static_cast<uint32_t>(tokens.size());
    token.depth = token.id % 3 + 1;
    token.text = text;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace recurve
