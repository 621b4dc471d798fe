// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/request_queue.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

namespace recurve {

absl::Status RequestQueue::CheckRoom(uint64_t tokens) const {
  if (requests() >= max_requests_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "queue is full: ", requests(), " requests wait; max_queued_requests is ", max_requests_));
  }
  if (tokens_ + tokens > max_tokens_) {
    return absl::ResourceExhaustedError(absl::StrCat("queue is full: ", tokens_,
                                                     " tokens wait and the request has ", tokens,
                                                     "; max_queued_tokens is ", max_tokens_));
  }
  return absl::OkStatus();
}

void RequestQueue::PushBack(Sequence* sequence) {
  waiting_.push_back(sequence);
  tokens_ += sequence->tokens.size();
}

void RequestQueue::PushFront(Sequence* sequence) {
  waiting_.push_front(sequence);
  tokens_ += sequence->tokens.size();
}

void RequestQueue::Remove(Sequence* sequence) {
  const auto found = std::find(waiting_.begin(), waiting_.end(), sequence);
  RECURVE_CHECK(found != waiting_.end());
  waiting_.erase(found);
  tokens_ -= sequence->tokens.size();
}

}  // namespace recurve
