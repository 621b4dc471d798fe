// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/tokenizer_stream.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/grpc/grpc_status.h"

namespace recurve {
namespace {

using vllm::grpc::engine::GetTokenizerChunk;

constexpr char kMethod[] = "VllmEngine.GetTokenizer";
constexpr size_t kChunkBytes = size_t{64} << 10;

// Owned by itself until OnDone.
class TokenizerStream final : public grpc::ServerWriteReactor<GetTokenizerChunk> {
 public:
  TokenizerStream(Doorway* doorway, TokenizerBundles* bundles)
      : doorway_(doorway), bundles_(bundles), entered_(bundles->Enter()) {}

  void Start(const grpc::CallbackServerContext& grpc_context) {
    absl::Status status = doorway_->Judge(grpc_context).status();
    if (status.ok() && doorway_->engine() == nullptr) {
      status = absl::UnavailableError("the model is still loading");
    }
    if (status.ok() && !entered_) {
      status = absl::ResourceExhaustedError(absl::StrCat(
          "the tokenizer is being sent ", TokenizerBundles::kMaxStreams, " times, the most"));
    }
    if (!status.ok()) return End(status);
    // Reading files blocks.
    status = doorway_->Later(/*bytes=*/0, [this] { Read(); });
    if (!status.ok()) End(status);
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return End(absl::CancelledError("the client went"));
    Next();
  }
  void OnDone() override {
    if (entered_) bundles_->Leave();
    delete this;
  }

 private:
  void Read() {
    auto bundle = bundles_->Get(doorway_->context()->options->engine.model.directory);
    if (!bundle.ok()) return End(bundle.status());
    bundle_ = *std::move(bundle);
    Next();
  }

  void Next() {
    if (sent_ == bundle_->zip.size()) return End(absl::OkStatus());
    const size_t size = std::min(kChunkBytes, bundle_->zip.size() - sent_);
    chunk_.set_data(bundle_->zip.substr(sent_, size));
    sent_ += size;
    if (sent_ == bundle_->zip.size()) chunk_.set_sha256(bundle_->sha256);
    StartWrite(&chunk_);
  }

  void End(const absl::Status& status) {
    doorway_->context()->metrics->CountRpc(kMethod, status.code());
    Finish(ToGrpc(status));
  }

  Doorway* const doorway_;
  TokenizerBundles* const bundles_;
  const bool entered_;
  std::shared_ptr<const TokenizerBundle> bundle_;
  size_t sent_ = 0;
  GetTokenizerChunk chunk_;  // being written
};

}  // namespace

absl::StatusOr<std::shared_ptr<const TokenizerBundle>> TokenizerBundles::Get(
    const std::string& directory) {
  const MutexLock lock(mutex_);
  if (auto bundle = bundle_.lock()) return bundle;
  ASSIGN_OR_RETURN(TokenizerBundle read, BundleTokenizer(directory));
  auto bundle = std::make_shared<const TokenizerBundle>(std::move(read));
  bundle_ = bundle;
  return bundle;
}

grpc::ServerWriteReactor<GetTokenizerChunk>* StartTokenizerStream(
    Doorway* doorway, TokenizerBundles* bundles, grpc::CallbackServerContext* grpc_context) {
  auto* const stream = new TokenizerStream(doorway, bundles);
  stream->Start(*grpc_context);
  return stream;
}

}  // namespace recurve
