// SPDX-License-Identifier: Apache-2.0
// GenerateRequest to the engine's Request.
#ifndef RECURVE_SERVER_GRPC_REQUEST_FROM_PROTO_H_
#define RECURVE_SERVER_GRPC_REQUEST_FROM_PROTO_H_

#include "absl/status/statusor.h"
#include "engine/engine.h"

namespace recurve {

namespace v1 {
class GenerateRequest;
}

// Translates, fills in defaults, draws a seed where none is given, and checks what the message
// alone can tell: that a prompt is there, ranges of the sampling parameters, counts and sizes of
// lists. What depends on the model or its memory (token ids, context, knobs of the routing, whether
// there is a tokenizer, min_tokens against a max_tokens left open) is checked by Engine::Start and
// nowhere else. InvalidArgument: field, value, limit. `arrival` starts time_limit_ms; id and
// deadline are left to the caller.
absl::StatusOr<Request> RequestFromProto(const v1::GenerateRequest& proto, SteadyTime arrival);

// INVALID_ARGUMENT for a prompt that cannot fit the model's context whatever it says: for more
// token ids, or more bytes of text than tokens of the context can stand for. Takes no time.
absl::Status CheckPromptSize(const v1::GenerateRequest& proto, const EngineInfo& info);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_REQUEST_FROM_PROTO_H_
