// SPDX-License-Identifier: Apache-2.0
// The part of a step that depends on the precision: rows through the layers of a stage.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_LAYERS_H_
#define RECURVE_ENGINE_BACKEND_CUDA_LAYERS_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "engine/backend/cuda/device_model.h"
#include "engine/backend/cuda/device_state.h"
#include "engine/backend/cuda/hidden_rows.h"
#include "engine/backend/cuda/rotary.h"
#include "engine/backend/cuda/row_set.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/step_tables.h"

namespace recurve::cuda {

// A stage's rows on their way through its layers.
struct Pass {
  RowSet set;
  simt::In<Row> rows;
  uint32_t most_rows = 0;  // that are expected; more take longer
};

// All of a memory, as elements of T.
template <template <typename> typename Span, typename T>
Span<T> All(const DeviceMemory& memory) {
  return Span<T>(memory, 0, memory.bytes / sizeof(T));
}
inline simt::Constant<float> FloatsOf(const DeviceMatrix& matrix) {
  return matrix.exists() ? simt::Constant<float>(matrix.memory, 0, matrix.elements())
                         : simt::Constant<float>();
}

// Launches kernels, in the runtime's stream. Thread-compatible.
class Layers {
 public:
  virtual ~Layers() = default;

  // The residual stream of a stage's rows. `norm`: the first that it meets.
  virtual absl::Status Load(RowSource source, const Pass& pass, const DeviceMatrix& norm) = 0;

  // Layer number `index` of the rows' cache group. Of EXIT's last layer the rows of `queries` alone
  // go on behind their keys and values. `next_norm`: that the residual stream meets next.
  virtual absl::Status Run(const DeviceLayer& layer, uint32_t index, const Pass& pass,
                           RowSet queries, const DeviceMatrix& next_norm) = 0;

  // Logits of the rows that want some.
  virtual absl::Status RunHead(const Pass& pass) = 0;
};

struct LayerOptions {
  bool overlap = true;  // kernels may begin before the one before them has ended
  // Products of so many rows and more are made by the device's library, where a step may have all
  // rows that there can be; 0: none.
  uint32_t library_rows = 0;
};

// In DeviceState::precision. Borrows all three.
std::unique_ptr<Layers> MakeLayersF32(Runtime& runtime, const DeviceModel& model,
                                      const DeviceState& state);
std::unique_ptr<Layers> MakeLayersBf16(Runtime& runtime, const DeviceModel& model,
                                       const DeviceState& state, const LayerOptions& options);

// What the layers of both have in common.
RowSources SourcesOf(RowSource source, const Pass& pass, const DeviceModel& model,
                     const DeviceState& state);
RotaryTable RotaryOf(const DeviceState& state);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_LAYERS_H_
