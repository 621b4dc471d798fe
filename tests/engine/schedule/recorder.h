// SPDX-License-Identifier: Apache-2.0
// What the tests of the schedule share: a clock that they set and an observer that remembers.
#ifndef RECURVE_TESTS_ENGINE_SCHEDULE_RECORDER_H_
#define RECURVE_TESTS_ENGINE_SCHEDULE_RECORDER_H_

#include <optional>
#include <utility>
#include <vector>

#include "engine/schedule/clock.h"
#include "engine/schedule/sample.h"
#include "tests/engine/schedule/fake_model.h"

namespace recurve {

class FakeClock : public Clock {
 public:
  SteadyTime Now() const override { return now; }
  SteadyTime now = SteadyTime() + std::chrono::hours(1);
};

// Everything that one sample's observer was told.
class Recorder : public SampleObserver {
 public:
  // `stop_strings`: the text ends where EndsStopString(id, ...) says so.
  explicit Recorder(uint64_t id = 0, bool stop_strings = false,
                    std::vector<uint64_t>* started_order = nullptr)
      : id_(id), stop_strings_(stop_strings), started_order_(started_order) {}

  void OnStarted() override {
    ++started;
    if (started_order_ != nullptr) started_order_->push_back(id_);
  }
  void OnPrompt(const PromptOutput& prompt) override {
    in_order = in_order && prompt.position == prompt_depths.size() && tokens.empty();
    prompt_depths.insert(prompt_depths.end(), prompt.depths.begin(), prompt.depths.end());
    prompt_logprobs.insert(prompt_logprobs.end(), prompt.logprobs.begin(), prompt.logprobs.end());
  }
  bool OnToken(const TokenOutput& token) override {
    if (tokens.empty()) first_position = token.position;
    in_order = in_order && token.position == first_position + tokens.size();
    tokens.push_back(token.token);
    token_depths.push_back(token.depth);
    token_logprobs.insert(token_logprobs.end(), token.logprobs.begin(), token.logprobs.end());
    return stop_strings_ && EndsStopString(id_, token.token, token.position);
  }
  void OnEnded(Ending how) override {
    ++ended;
    ending = std::move(how);
  }

  bool in_order = true;  // no row or token was left out, told twice or early
  int started = 0;
  int ended = 0;
  Ending ending;
  uint32_t first_position = 0;
  std::vector<uint32_t> prompt_depths;
  std::vector<uint32_t> tokens;
  std::vector<uint32_t> token_depths;
  std::vector<TokenLogprob> prompt_logprobs;
  std::vector<TokenLogprob> token_logprobs;

 private:
  const uint64_t id_;
  const bool stop_strings_;
  std::vector<uint64_t>* const started_order_;
};

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_SCHEDULE_RECORDER_H_
