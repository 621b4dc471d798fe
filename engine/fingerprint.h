// SPDX-License-Identifier: Apache-2.0
// What two engines must have in common so that one goes on, bit for bit, where the other stopped.
#ifndef RECURVE_ENGINE_FINGERPRINT_H_
#define RECURVE_ENGINE_FINGERPRINT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/api/options.h"
#include "engine/base/digest.h"
#include "engine/model/weights.h"

namespace recurve {

// To be raised by whoever changes a bit of any output: of products, routers, sampling, evictions,
// of how text becomes tokens or tokens text, or of what a request's fields mean.
inline constexpr uint32_t kOutputVersion = 2;

// 32 hex digits. Engines that have the same ones give a request with a seed the same tokens,
// depths, texts and log probabilities; whatever may change one of these goes into it: the weights'
// bytes, the configuration, the tokenizer, the arithmetic, and the defaults of `options` that a
// request which says nothing gets. Threads, instruction set, chunks, slots, policy and memory do
// not. `options` have every automatic value filled in; `tokenizer` is that of its file, Digest()
// without one. `arithmetic` as BackendFacts has it: without one there is no fingerprint, and this
// is empty. Reads all weights, with `threads` threads.
std::string Fingerprint(const Model& model, const Digest& tokenizer, const EngineOptions& options,
                        std::string_view arithmetic, uint32_t threads);

}  // namespace recurve

#endif  // RECURVE_ENGINE_FINGERPRINT_H_
