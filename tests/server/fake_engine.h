// SPDX-License-Identifier: Apache-2.0
// An engine without a model: streams what a test tells it to.
#ifndef RECURVE_TESTS_SERVER_FAKE_ENGINE_H_
#define RECURVE_TESTS_SERVER_FAKE_ENGINE_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "tests/engine/owned_token.h"

namespace recurve {

// Thread-safe. As the real one it calls sinks from one loop thread, which holds no lock, and asks
// that thread for what Cancel, Drain and the destructor want. By default a sample waits until the
// test emits its tokens; with a script it streams by itself, a token of each running sample a step.
// Destruction ends what still runs as cancelled.
class FakeEngine final : public Engine {
 public:
  struct Script {
    std::vector<OwnedToken> tokens;
    EndReason reason = EndReason::kLength;
  };

  explicit FakeEngine(std::optional<Script> script = std::nullopt);
  ~FakeEngine() override;

  // For tests: what Start answers from now on, if not OK.
  void RefuseWith(absl::Status status);
  // Waits for the `index`-th accepted request, each sample counted. Their ids count from 1.
  Request WaitForRequest(size_t index);
  // Each makes one call of the request's sink and returns when that has returned. Ignored after the
  // request's end.
  void EmitPromptLogprobs(SampleId id, std::vector<PositionLogprobs> logprobs);
  void Emit(SampleId id, std::vector<OwnedToken> tokens);
  // `tokens` are sampled, but their texts are not certain: the sink hears of them only by the count
  // of the next tokens or of the end.
  void HoldBack(SampleId id, uint32_t tokens);
  // Counts of tokens and times of `finish` are filled in.
  void End(SampleId id, Finish finish);
  // Ends everything with Unavailable and lets WaitForFailure return `status`.
  void Fail(absl::Status status);
  // Fails as an engine whose step has not come back: no sink hears anything more. Must not be
  // destroyed then.
  void GetStuck();
  // Cancellations do nothing from now on, as in an engine that has not come to them yet.
  void IgnoreCancels();
  // Bytes from which a text prompt is refused by its size; before the server starts.
  void SetMaxPromptBytes(uint64_t bytes) { info_.max_prompt_bytes = bytes; }
  // Tokenize calls do not return from now on, until told; how many are held.
  void HoldTokenize();
  void ReleaseTokenize();
  void WaitForTokenize(int held);
  // WaitForFailure calls that wait already hear of a failure only at StopWaiting.
  void WithholdFailure();
  void WaitUntilEnded(SampleId id);
  // Lets the time that Drain was given pass at once.
  void EndDrain();
  bool draining();
  size_t num_running();
  size_t num_accepted();

  absl::StatusOr<Accepted> Start(Request request, std::shared_ptr<RequestSink> sink) override;
  void Cancel(SampleId id) override;
  void Drain(SteadyTime until) override;
  absl::Status WaitForFailure() override;
  void StopWaiting() override;
  EngineSnapshot Snapshot() const override;
  const EngineInfo& Info() const override { return info_; }
  // A byte is a token; with special tokens 256 comes first.
  absl::StatusOr<std::vector<uint32_t>> Tokenize(std::string_view text,
                                                 bool add_special_tokens) const override;
  absl::StatusOr<std::string> Detokenize(const std::vector<uint32_t>& ids,
                                         bool skip_special_tokens) const override;
  std::string TokenText(uint32_t id) const override;

 private:
  struct Running {
    std::shared_ptr<RequestSink> sink;
    uint32_t sample = 0;
    uint32_t prompt_tokens = 0;
    uint32_t emitted = 0;
    std::optional<SteadyTime> first_token, last_token;
    bool ended = false;  // its sink is about to be told
  };

  // Runs `job` on the loop thread, with the mutex held, and waits until the sinks know of it.
  void OnLoop(std::function<void()> job);
  void Loop();
  // All of these on the loop thread, with the mutex held; the sinks are told afterwards, without.
  void Step();
  Running* Find(SampleId id);  // null if it has ended
  void Emit(Running* running, std::vector<OwnedToken> tokens);
  void EndSample(SampleId id, Finish finish);
  void EndAll(const Finish& finish);
  void TellSinks(std::unique_lock<std::mutex>* lock);

  const std::optional<Script> script_;
  EngineInfo info_;

  mutable std::mutex mutex_;  // guards what follows
  mutable std::condition_variable changed_;
  bool hold_tokenize_ = false;
  mutable int held_tokenize_ = 0;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::function<void()>> calls_;  // of sinks, to be made
  std::vector<Request> accepted_;
  std::map<SampleId, Running> running_;
  absl::Status refusal_;
  absl::Status failure_;
  bool draining_ = false;
  bool drain_over_ = false;
  bool stopping_ = false;
  bool stuck_ = false;
  bool withhold_failure_ = false;
  bool ignore_cancels_ = false;
  bool waiting_stopped_ = false;
  uint64_t generated_ = 0;

  std::thread loop_;
};

// Tokens 0, 1, ... of depths 1, 2, 3, 1, ... with these texts.
std::vector<OwnedToken> MakeTokens(const std::vector<std::string>& texts);

}  // namespace recurve

#endif  // RECURVE_TESTS_SERVER_FAKE_ENGINE_H_
