// SPDX-License-Identifier: Apache-2.0
// The requests of a load.
#ifndef RECURVE_CLIENT_LOAD_PROMPTS_H_
#define RECURVE_CLIENT_LOAD_PROMPTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/load/bench_flags.h"
#include "recurve/v1/generation.pb.h"

namespace recurve::client {

// The i-th request has a line of the prompts file, or random ids. Thread-compatible.
class RequestMaker {
 public:
  // Reads the flags' files. `flags` must outlive it.
  static absl::StatusOr<RequestMaker> Create(const BenchFlags& flags, uint32_t vocab_size);

  v1::GenerateRequest Make(uint64_t index) const;

  // Of random prompts.
  std::optional<uint64_t> seed() const { return seed_; }

 private:
  RequestMaker(const BenchFlags& flags, uint32_t vocab_size)
      : flags_(&flags), vocab_size_(vocab_size) {}

  const BenchFlags* flags_;
  uint32_t vocab_size_;
  std::optional<uint64_t> seed_;
  std::vector<std::string> prompts_;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_PROMPTS_H_
