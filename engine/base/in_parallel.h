// SPDX-License-Identifier: Apache-2.0
// Work in independent pieces, on threads that live as long as it.
#ifndef RECURVE_ENGINE_BASE_IN_PARALLEL_H_
#define RECURVE_ENGINE_BASE_IN_PARALLEL_H_

#include <cstddef>
#include <cstdint>
#include <functional>

namespace recurve {

// Calls work(0) ... work(pieces - 1), each once and in no order, on the caller's thread and at most
// threads - 1 others. Returns when all have returned; `work` does not throw.
void InParallel(size_t pieces, uint32_t threads, const std::function<void(size_t piece)>& work);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_IN_PARALLEL_H_
