// SPDX-License-Identifier: Apache-2.0
// GenerateRequest to the engine's Request.
#ifndef RECURVE_SERVER_GRPC_REQUEST_FROM_PROTO_H_
#define RECURVE_SERVER_GRPC_REQUEST_FROM_PROTO_H_

#include "absl/status/statusor.h"
#include "engine/api/request.h"
#include "engine/api/snapshot.h"

namespace recurve {

namespace v1 {
class GenerateRequest;
}

// Translates, fills in defaults, draws a seed where none is given. INVALID_ARGUMENT for what a
// Request cannot say: no prompt, a priority without a name, a time of 0. All else is the engine's
// to check. `arrival` starts time_limit_ms; id and deadline are left to the caller.
absl::StatusOr<Request> RequestFromProto(const v1::GenerateRequest& proto, SteadyTime arrival);

// The same, but that a Refusal names the field by its path in the message: "sampling.top_p" is 5.
absl::Status WithProtoPaths(const absl::Status& status);

// What is known of a prompt before it is tokenized: that of a text, or of token ids, of which the
// last ones may be of an earlier stream.
struct PromptSize {
  size_t text_bytes = 0;
  size_t ids = 0;
  size_t generated_ids = 0;  // `generated_prefix`, unchecked
};

// INVALID_ARGUMENT for a prompt that cannot fit the model's context whatever it says: for more
// token ids of its own, or more bytes of text than tokens of the context can stand for. Takes no
// time.
absl::Status CheckPromptSize(const PromptSize& size, const EngineInfo& info);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_REQUEST_FROM_PROTO_H_
