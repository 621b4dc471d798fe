// SPDX-License-Identifier: Apache-2.0
// The weights of a model in device memory.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_DEVICE_MODEL_H_
#define RECURVE_ENGINE_BACKEND_CUDA_DEVICE_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/cuda/device_memory.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/precision.h"
#include "engine/model/weights.h"

namespace recurve::cuda {

// W of y = W x. As floats: [sets][inputs][outputs], so that neighbouring threads, which compute
// neighbouring outputs, read neighbouring numbers. For the tensor cores: `tiles` packed tiles a set
// (packed_matrix.h).
struct DeviceMatrix {
  DeviceMemory memory;
  DeviceMemory plain;  // the same for the device's library (packed_matrix.h), if that may have it
  uint32_t inputs = 0;
  uint32_t outputs = 0;
  uint32_t sets = 0;
  uint32_t tiles = 0;
  bool exists() const { return sets > 0; }
  size_t elements() const { return size_t{sets} * inputs * outputs; }
};

struct DeviceLayer {
  DeviceMatrix input_norm, post_attention_norm;  // floats; inputs = 1
  // One set, or one for each recursion. qkv: outputs of queries, keys and values one after the
  // other.
  DeviceMatrix qkv, o;
  DeviceMatrix gate, up;  // f32 alone
  DeviceMatrix gate_up;   // bf16 alone
  DeviceMatrix down;
};

// Of a linear router `out` alone. Floats.
struct DeviceRouter {
  DeviceMatrix hidden;
  DeviceMatrix out;  // [outputs][inputs]: a dot product reads the inputs of one output
};

struct DeviceModel {
  std::shared_ptr<const Model> source;
  // [vocab][hidden]: inputs = vocab, so that a token's row lies together. In bf16 not packed.
  DeviceMatrix embedding;
  std::vector<DeviceLayer> entry, block, exit;
  DeviceMatrix final_norm, lm_head;
  std::vector<DeviceRouter> routers, aux_routers;
  DeviceMatrix router_bias;
  const ModelConfig& config() const { return source->config; }
};

// Allocates and fills device memory for all weights; those of layers that have one set a second
// time, plain, if the device's library multiplies. ResourceExhausted as Runtime::Allocate.
absl::StatusOr<DeviceModel> LoadDeviceModel(Runtime& runtime, std::shared_ptr<const Model> model,
                                            Precision precision, bool has_library);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_DEVICE_MODEL_H_
