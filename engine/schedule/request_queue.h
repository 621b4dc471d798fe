// SPDX-License-Identifier: Apache-2.0
// Requests that wait for a slot.
#ifndef RECURVE_ENGINE_SCHEDULE_REQUEST_QUEUE_H_
#define RECURVE_ENGINE_SCHEDULE_REQUEST_QUEUE_H_

#include <cstdint>
#include <deque>

#include "absl/status/status.h"
#include "engine/schedule/sequence.h"

namespace recurve {

// First in, first out, bounded in requests and in the tokens that they bring. Preempted sequences
// come back to the front whatever the bounds: they have been accepted before. Thread-compatible.
class RequestQueue {
 public:
  RequestQueue(uint32_t max_requests, uint64_t max_tokens)
      : max_requests_(max_requests), max_tokens_(max_tokens) {}

  // ResourceExhausted names the bound that a request of `tokens` tokens would break.
  absl::Status CheckRoom(uint64_t tokens) const;

  void PushBack(Sequence* sequence);
  void PushFront(Sequence* sequence);
  void Remove(Sequence* sequence);

  bool empty() const { return waiting_.empty(); }
  Sequence* front() const { return waiting_.front(); }
  uint32_t requests() const { return static_cast<uint32_t>(waiting_.size()); }
  uint64_t tokens() const { return tokens_; }

 private:
  const uint32_t max_requests_;
  const uint64_t max_tokens_;
  std::deque<Sequence*> waiting_;  // oldest first
  uint64_t tokens_ = 0;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_REQUEST_QUEUE_H_
