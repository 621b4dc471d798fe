// SPDX-License-Identifier: Apache-2.0
// The backends of test_backends.h, made.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_MAKE_TEST_BACKEND_H_
#define RECURVE_TESTS_ENGINE_BACKEND_MAKE_TEST_BACKEND_H_

#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/factory/make_backend.h"
#include "engine/model/weights.h"
#include "tests/engine/backend/test_backends.h"

namespace recurve {

// As MakeBackend; `test` says which one, and whether it has a twin. That of the CUDA
// backend in bf16, whose bits are its own, is another of its kind.
absl::StatusOr<std::unique_ptr<Backend>> MakeTestBackend(const TestBackend& test,
                                                         std::shared_ptr<const Model> model,
                                                         BackendOptions options,
                                                         const BackendLimits& limits);
BackendMaker TestBackendMaker(const TestBackend& test);

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_BACKEND_MAKE_TEST_BACKEND_H_
