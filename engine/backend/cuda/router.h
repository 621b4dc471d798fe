// SPDX-License-Identifier: Apache-2.0
// What follows a recursion of the block: the gate, the residual's update and the decision which
// rows take the next recursion. As the CPU's RouterStage, bit for bit: f32 whatever the precision,
// in the written orders of arithmetic.h and gate.h.
//
// A block takes a row; all latency.
//
// Who goes on the device alone knows. So a row is counted as the mean of the N rows of a token that
// takes all N recursions: in all of them together each net that the config uses runs once, and
//
//   kNone           N * 2 vectors: x read, H written
//   expert-choice   N * 3 vectors: x and H read, H written
//   token-choice    N * 2 + 1 vectors: x read, the stream and at last H written, H read; with N > 1
//                   H is read twice: by the net, and when the token leaves
//
// Bytes: 4 * hidden a vector; of weights 4 * outputs * hidden a net, or with an mlp
// 4 * (2 * hidden * hidden + 2 * hidden * outputs), all nets once whatever the rows are, although
// blocks read them from cache for each row. Outputs: 1, of token-choice N. FLOPs: 2 for each
// weight, and 2 * hidden for each H + gate * x: in each row, of token-choice once a token. A row's
// single numbers are not counted.
#ifndef RECURVE_ENGINE_BACKEND_CUDA_ROUTER_H_
#define RECURVE_ENGINE_BACKEND_CUDA_ROUTER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "engine/backend/cuda/step_tables.h"
#include "engine/model/router_config.h"

namespace recurve::cuda {

struct RouterNet {
  simt::Constant<float> hidden;  // mlp: [hidden][2 * hidden]; [inputs][outputs]
  simt::Constant<float> out;     // [outputs][inputs], of hidden or with an mlp 2 * hidden inputs
};

struct RouterArgs {
  TableSizes sizes;
  RouterConfig config;
  uint32_t hidden = 0;
  RouterNet nets[kMaxGroups] = {};      // expert-choice: one a recursion; token-choice: one
  RouterNet aux_nets[kMaxGroups] = {};  // expert-choice with an auxiliary router: one a recursion
  simt::Constant<float> bias;           // token-choice with loss_free balancing: [recursions]
  uint32_t has_bias = 0;
  simt::In<ListCounts> counts;
  simt::In<Row> rows;  // of the block
  SlotTables<simt::In> slots;
  simt::In<float> x;             // [rows][hidden]: what the block made of each row
  simt::Out<float> hidden_rows;  // H: [hidden rows][hidden]
  simt::Out<float> stream;       // token-choice: [hidden rows][hidden], between recursions
  // [hidden rows]. gate: expert-choice z of the next recursion, token-choice g; depth:
  // token-choice; score: by which the row gets into its next recursion.
  simt::Out<float> gate;
  simt::Out<uint32_t> depth;
  simt::Out<float> score;
  simt::Out<uint32_t> passes;  // [rows]: 1: the row takes the next recursion
  simt::Out<uint64_t> stamps;
};
absl::Status LaunchRouter(Runtime& runtime, const RouterArgs& args);

}  // namespace recurve::cuda

#endif  // RECURVE_ENGINE_BACKEND_CUDA_ROUTER_H_
