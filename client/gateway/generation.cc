// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/generation.h"

#include <utility>

namespace recurve::gateway {

std::shared_ptr<Generation> Generation::Start(client::Client* client, Workers* workers,
                                              const std::vector<v1::GenerateRequest>& requests,
                                              const client::CallOptions& options,
                                              OnMessage on_message, OnEnd on_end) {
  const std::shared_ptr<Generation> generation(
      new Generation(workers, std::move(on_message), std::move(on_end)));
  for (size_t prompt = 0; prompt < requests.size(); ++prompt) {
    {
      const absl::MutexLock lock(&generation->mutex_);
      if (!generation->status_.ok()) break;
      ++generation->running_;
    }
    auto stream = client->StartGenerate(
        requests[prompt], options,
        [generation, prompt](const v1::GenerateResponse& message, client::MessageReader& reader) {
          const absl::MutexLock lock(&generation->delivering_);
          return generation->on_message_(prompt, message, reader);
        },
        [generation](const absl::Status& status) { generation->Ended(status); });
    const absl::MutexLock lock(&generation->mutex_);
    if (!generation->status_.ok()) stream->Cancel();
    generation->streams_.push_back(std::move(stream));
  }
  generation->Ended(absl::OkStatus());
  return generation;
}

void Generation::Fail(const absl::Status& status) {
  const absl::MutexLock lock(&mutex_);
  if (!status_.ok()) return;
  status_ = status;
  for (const auto& stream : streams_) stream->Cancel();
}

void Generation::Ended(const absl::Status& status) {
  if (!status.ok()) Fail(status);
  absl::Status end;
  std::vector<std::unique_ptr<client::Stream>> streams;
  {
    const absl::MutexLock lock(&mutex_);
    if (--running_ > 0) return;
    end = status_;
    streams = std::move(streams_);
  }
  on_end_(end);
  // A stream must not be destroyed by its own end, and has this in its callbacks.
  workers_->Post([kept = std::make_shared<decltype(streams)>(std::move(streams))] {});
}

}  // namespace recurve::gateway
