// SPDX-License-Identifier: Apache-2.0
// What a server's messages are to OpenAI's clients: the choices of a completion or of a chat, whole
// or as the chunks of a stream.
#ifndef RECURVE_CLIENT_GATEWAY_ANSWER_H_
#define RECURVE_CLIENT_GATEWAY_ANSWER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/gateway/parameters.h"
#include "recurve/v1/generation.pb.h"

namespace recurve::gateway {

// A prompt that is to come again in front of its completion.
struct PromptEcho {
  std::string text;
  std::vector<std::string> tokens;  // each alone; as many as ids
};

// What is the same in all chunks.
struct AnswerHead {
  std::string id;
  int64_t created = 0;  // seconds since 1970
  std::string model;
  std::string fingerprint;
};

// Thread-compatible. Choices are counted prompt by prompt, and sample by sample in each.
class Answer {
 public:
  Answer(AnswerHead head, const Terms& terms)
      : head_(std::move(head)),
        samples_(std::max(1U, terms.request.samples())),
        depths_(terms.depths) {}
  virtual ~Answer() = default;

  // What a message adds, as a choice of a chunk; null if that is nothing.
  nlohmann::json Take(size_t prompt, const v1::GenerateResponse& message);

  // The chunk of a stream with these choices; with the usage so far if asked for.
  std::string Chunk(nlohmann::json choices, bool with_usage) const;
  // The chunk of a stream that tells the usage alone.
  std::string UsageChunk() const { return Chunk(nlohmann::json::array(), /*with_usage=*/true); }

  // Adds what Take gave to the whole, and the whole when all has come.
  void Add(const nlohmann::json& delta);
  std::string Whole() const;

  uint64_t generated_tokens() const;
  uint64_t prompt_tokens() const;

 protected:
  virtual const char* Object(bool is_chunk) const = 0;
  // Null if a message that is not the last one of its choice adds nothing.
  virtual nlohmann::json Delta(size_t choice, const v1::GenerateResponse& message) = 0;
  virtual void Merge(const nlohmann::json& delta, nlohmann::json* choice) const = 0;
  // Of a choice that is whole but for what stands before it.
  virtual void Complete(nlohmann::json* /*choice*/) const {}

  uint32_t samples() const { return samples_; }

 private:
  nlohmann::json Usage() const;
  nlohmann::json Object(bool is_chunk, nlohmann::json choices) const;

  const AnswerHead head_;
  const uint32_t samples_;
  const bool depths_;
  std::map<size_t, v1::Usage> usages_;      // by choice
  std::map<size_t, uint64_t> cached_;       // prompt tokens, by prompt
  std::map<size_t, nlohmann::json> whole_;  // by choice
};

// `echoes`: of all prompts, or none.
std::unique_ptr<Answer> MakeCompletionAnswer(AnswerHead head, const CompletionTerms& terms,
                                             std::vector<PromptEcho> echoes);
std::unique_ptr<Answer> MakeChatAnswer(AnswerHead head, const ChatTerms& terms);

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_ANSWER_H_
