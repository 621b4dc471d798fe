// SPDX-License-Identifier: Apache-2.0
// One sample of a stream that goes on at another server where it broke: what has been told of it,
// the request that goes on from there, and what of the next stream is new.
#ifndef RECURVE_CLIENT_RESUME_H_
#define RECURVE_CLIENT_RESUME_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "recurve/v1/generation.pb.h"

namespace recurve::client {

// The seed that a server gives this sample of a request: sample 0 has the request's.
uint64_t SampleSeed(uint64_t seed, uint32_t sample);

// InvalidArgument for a request whose streams cannot be continued exactly: with
// recursion.adaptive_min its text depends on the load of the server that broke.
absl::Status CheckResumable(const v1::GenerateRequest& request);

// The message before the break is generated again and dropped: its tokens must come as they came
// the first time, and if one of them had ended the text, the end comes again with them. Between two
// messages a server holds neither half a character nor what may become a stop string, so the text
// goes on as if it had never been cut there.
//
// Thread-compatible. Times are since the call began.
class SampleProgress {
 public:
  using Time = std::chrono::nanoseconds;

  // `seed`: the sample's own.
  SampleProgress(uint32_t sample, uint64_t seed) : sample_(sample), seed_(seed) {}

  // Makes of a message that has come what an unbroken stream would have brought; false if that is
  // nothing. A last message DRAINED loses its `final`, which Drained then has. DataLoss if the
  // server went on with other tokens than it should.
  absl::StatusOr<bool> Take(Time now, v1::GenerateResponse& message);

  // The request that goes on behind what has been told. `original` is the call's, `prompt` its
  // token ids.
  v1::GenerateRequest Resume(const v1::GenerateRequest& original,
                             const google::protobuf::RepeatedField<uint32_t>& prompt, Time now);

  bool has_ended() const { return has_ended_; }
  uint32_t sample() const { return sample_; }
  // Of the prompt, as the server counted it; none before the first message.
  std::optional<uint32_t> prompt_tokens() const { return prompt_tokens_; }
  // The last message of a sample that a server's end has cut short, for when nobody goes on with
  // it.
  const std::optional<v1::GenerateResponse>& drained() const { return drained_; }

 private:
  absl::Status DropRepeated(v1::GenerateResponse& message);
  void Remember(Time now, const v1::GenerateResponse& message);
  void MakeWhole(Time now, v1::FinalInfo& final) const;
  void MakeDepthsWhole(v1::FinalInfo& final) const;

  const uint32_t sample_;
  const uint64_t seed_;

  // Told, of all streams.
  std::vector<uint32_t> ids_, depths_;
  uint32_t generated_tokens_ = 0;  // the server's count
  std::optional<uint32_t> prompt_tokens_;
  bool has_prompt_logprobs_ = false;
  bool has_ended_ = false;
  std::optional<Time> first_token_, last_token_;

  // The last message that had tokens: the first one's index, and its text.
  size_t last_begin_ = 0;
  std::string last_text_;

  // Of the stream that runs.
  size_t base_ = 0;           // index of its first token; its prompt ends with those before
  size_t came_ = 0;           // its tokens
  size_t repeated_text_ = 0;  // bytes of last_text_ that came again
  bool resumed_ = false;

  // Of streams that ended DRAINED.
  std::optional<v1::GenerateResponse> drained_;
  uint32_t preemptions_ = 0, recomputed_tokens_ = 0;
  uint64_t recompute_us_ = 0;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_RESUME_H_
