// SPDX-License-Identifier: Apache-2.0
// What a load is sent to: all that generating load and reporting know of a server's protocol.
#ifndef RECURVE_CLIENT_LOAD_TARGET_H_
#define RECURVE_CLIENT_LOAD_TARGET_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "recurve/v1/generation.pb.h"

namespace recurve::client {

// What a server tells of its model; 0 is what it does not tell.
struct TargetInfo {
  std::string model_name;
  uint32_t vocab_size = 0;  // with it random prompts are token ids, else words
  uint32_t max_context = 0;
  uint32_t num_recursions = 0;
};

// What one message of a stream tells.
struct Heard {
  // Generated tokens that it brings; none if it brings text, and does not say of how many.
  std::optional<uint32_t> tokens = 0;
  // Of the request so far; none where this message does not tell.
  std::optional<uint64_t> prompt_tokens, cached_tokens, generated_tokens;
  bool drained = false;         // the server shuts down, and has ended it amid the text
  double mean_depth = 0;        // of the rows of generated tokens
  uint64_t generated_rows = 0;  // 0 where it does not tell of their depth
};

// Thread-safe.
class Target {
 public:
  // True if the message is done with; false if MessageReader::Done will be called, by any thread,
  // and no further one is to come before.
  using OnMessage = std::function<bool(const Heard&, MessageReader&)>;
  using OnEnd = std::function<void(const absl::Status&)>;

  virtual ~Target() = default;

  virtual absl::StatusOr<TargetInfo> Describe() = 0;

  // InvalidArgument if the protocol has no words for what the request asks for.
  virtual absl::Status Check(const v1::GenerateRequest& request) const = 0;

  // As Client::StartGenerate: both callbacks run one at a time on a thread of the target's, and do
  // not block; of a full server the end's status has kRetryPushbackPayload.
  virtual std::unique_ptr<Stream> Start(const v1::GenerateRequest& request, const CallOptions& call,
                                        OnMessage on_message, OnEnd on_end) = 0;

  // Whether it tries again by itself what a full server refused; else who calls it may.
  virtual bool tries_again() const { return false; }

  virtual absl::StatusOr<uint32_t> CountTokens(const std::string& /*text*/, bool /*add_special*/) {
    return absl::UnimplementedError(
        "this protocol does not count a text's tokens, as --sharegpt needs");
  }

  // The server's own counts and latencies; none where it does not tell them.
  virtual std::optional<v1::GetLoadResponse> AskLoad() { return std::nullopt; }
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_TARGET_H_
