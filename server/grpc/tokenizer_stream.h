// SPDX-License-Identifier: Apache-2.0
// VllmEngine.GetTokenizer: hands a model's tokenizer over to gateways on other machines.
#ifndef RECURVE_SERVER_GRPC_TOKENIZER_STREAM_H_
#define RECURVE_SERVER_GRPC_TOKENIZER_STREAM_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "server/grpc/doorway.h"
#include "server/grpc/tokenizer_bundle.h"
#include "vllm/grpc/engine/vllm_engine.pb.h"

namespace recurve {

// The bundle that all streams send, read from the directory when the first one begins and let go
// with the last. Thread-safe.
class TokenizerBundles {
 public:
  // How many may be sent at once, whatever clients there are that do not read.
  static constexpr int kMaxStreams = 16;

  absl::StatusOr<std::shared_ptr<const TokenizerBundle>> Get(const std::string& directory);

  bool Enter() {
    if (++streams_ <= kMaxStreams) return true;
    --streams_;
    return false;
  }
  void Leave() { --streams_; }

 private:
  Mutex mutex_;
  std::weak_ptr<const TokenizerBundle> bundle_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int> streams_ = 0;
};

// Answers one call; `doorway` and `bundles` outlive it.
grpc::ServerWriteReactor<vllm::grpc::engine::GetTokenizerChunk>* StartTokenizerStream(
    Doorway* doorway, TokenizerBundles* bundles, grpc::CallbackServerContext* grpc_context);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_TOKENIZER_STREAM_H_
