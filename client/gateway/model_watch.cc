// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/model_watch.h"

#include <utility>

#include "absl/time/time.h"
#include "engine/base/status_macros.h"

namespace recurve::gateway {
namespace {

client::CallOptions WithPatience(client::CallOptions options) {
  options.timeout = ModelWatch::kPatience;
  return options;
}

}  // namespace

ModelWatch::ModelWatch(client::Client* client, client::CallOptions options,
                       std::function<void(const absl::Status&)> on_change)
    : client_(client),
      options_(WithPatience(std::move(options))),
      on_change_(std::move(on_change)),
      thread_([this] { Run(); }) {}

ModelWatch::~ModelWatch() {
  {
    const absl::MutexLock lock(&mutex_);
    ending_ = true;
    changed_.SignalAll();
  }
  thread_.join();
}

absl::StatusOr<std::shared_ptr<const ModelInfo>> ModelWatch::model() const {
  const absl::MutexLock lock(&mutex_);
  if (model_ != nullptr) return model_;
  return status_;
}

bool ModelWatch::ready() const {
  const absl::MutexLock lock(&mutex_);
  return status_.ok();
}

absl::Status ModelWatch::Ask() {
  RETURN_IF_ERROR(client_->CheckHealth("", options_));
  ASSIGN_OR_RETURN(ModelInfo model, client_->GetModelInfo(options_));
  auto shared = std::make_shared<const ModelInfo>(std::move(model));
  const absl::MutexLock lock(&mutex_);
  model_ = std::move(shared);
  return absl::OkStatus();
}

void ModelWatch::Run() {
  while (true) {
    const absl::Status status = Ask();
    bool is_change = false;
    {
      const absl::MutexLock lock(&mutex_);
      is_change = status.code() != status_.code() || status.message() != status_.message();
      status_ = status;
    }
    if (is_change) on_change_(status);
    const auto pause =
        absl::FromChrono(status.ok() ? std::chrono::milliseconds(kEvery) : kEveryWithout);
    const absl::MutexLock lock(&mutex_);
    if (!ending_) changed_.WaitWithTimeout(&mutex_, pause);
    if (ending_) return;
  }
}

}  // namespace recurve::gateway
