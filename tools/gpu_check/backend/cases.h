// SPDX-License-Identifier: Apache-2.0
// The models that the backend is checked with, and what they are asked.
#ifndef RECURVE_TOOLS_GPU_CHECK_BACKEND_CASES_H_
#define RECURVE_TOOLS_GPU_CHECK_BACKEND_CASES_H_

#include <memory>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/model/weights.h"
#include "tests/engine/backend/step_driver.h"

namespace recurve::gpu_check {

struct Case {
  std::string name;
  std::shared_ptr<const Model> model;
  BackendLimits limits;
  std::vector<DriverRequest> requests;
};

// Every type of router, cache and sharing, heads of several sizes; the smallest one first.
std::vector<Case> Cases();

}  // namespace recurve::gpu_check

#endif  // RECURVE_TOOLS_GPU_CHECK_BACKEND_CASES_H_
