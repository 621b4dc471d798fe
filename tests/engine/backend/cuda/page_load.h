// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CUDA_PAGE_LOAD_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CUDA_PAGE_LOAD_H_

#include <cstdint>
#include <string>

namespace recurve::cuda {

// A plan of evictions and page copies on pages of several layers and heads, compared element by
// element with what eviction.h says: groups of far more entries than a block has threads, which
// loads do not come to. Returns the first difference, empty if there is none.
std::string RunPageChanges(uint64_t seed);

}  // namespace recurve::cuda

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CUDA_PAGE_LOAD_H_
