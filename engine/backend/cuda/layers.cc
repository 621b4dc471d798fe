// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/layers.h"

namespace recurve::cuda {

RowSources SourcesOf(RowSource source, const Pass& pass, const DeviceModel& model,
                     const DeviceState& state) {
  RowSources from;
  from.sizes = state.step.sizes;
  from.set = pass.set;
  from.source = source;
  from.hidden = model.config().hidden_size;
  from.counts = All<simt::In, ListCounts>(state.step.counts);
  from.rows = pass.rows;
  from.tokens = All<simt::In, TokenId>(state.step.tokens);
  from.hidden_rows = All<simt::In, float>(state.hidden_rows);
  from.stream = All<simt::In, float>(state.stream);
  from.has_stream = model.config().router.type == RouterType::kTokenChoice;
  from.stamps = All<simt::Out, uint64_t>(state.stamps);
  return from;
}

RotaryTable RotaryOf(const DeviceState& state) {
  RotaryTable rotary;
  rotary.cos = All<simt::Constant, float>(state.cos);
  rotary.sin = All<simt::Constant, float>(state.sin);
  rotary.frequencies = All<simt::Constant, double>(state.frequencies);
  rotary.tabled_positions = state.step.sizes.max_positions;
  return rotary;
}

}  // namespace recurve::cuda
