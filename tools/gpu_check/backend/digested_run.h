// SPDX-License-Identifier: Apache-2.0
// What the backend is asked in bf16, with the digest of all that it answers.
#ifndef RECURVE_TOOLS_GPU_CHECK_BACKEND_DIGESTED_RUN_H_
#define RECURVE_TOOLS_GPU_CHECK_BACKEND_DIGESTED_RUN_H_

#include <cstdint>
#include <map>
#include <string>

#include "tools/gpu_check/backend/cases.h"
#include "tools/gpu_check/backend/device_backend.h"
#include "tools/gpu_check/backend/step_digest.h"

namespace recurve::gpu_check {

struct DigestedRun {
  std::string name;
  StepDigest digest;
  std::string error;  // what went wrong; else empty
};

DigestedRun DigestCase(const Case& run, const DeviceOptions& options);

// Of a random load, which draws its device itself.
DigestedRun DigestLoad(uint64_t seed);

// Digests by the names of what was run, from a file of lines: the digest, a blank, the name.
using Digests = std::map<std::string, std::string>;
Digests ReadDigests(const std::string& path);

}  // namespace recurve::gpu_check

#endif  // RECURVE_TOOLS_GPU_CHECK_BACKEND_DIGESTED_RUN_H_
