// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/backend/backend.h"
#include "engine/backend/model_shape.h"
#include "engine/bench/shapes.h"
#include "engine/bench/size.h"
#include "engine/schedule/stage_costs.h"
#include "engine/schedule/staging.h"

namespace recurve {
namespace {

constexpr uint32_t kTokens = 1024;  // from which the model of the schedule learns the depths

// A stage's bytes and FLOPs: its weights', and those of each row.
struct StageWork {
  double weight_bytes = 0;
  double row_bytes = 0;
  double row_flops = 0;

  CostCurve Cost(const RunShape& run, uint32_t most_rows) const {
    CostCurve curve;
    for (uint32_t rows = 1; rows <= most_rows; ++rows) {
      const double bytes = weight_bytes + rows * row_bytes;
      curve.See(rows, 1e9 * std::max(bytes / run.bytes_per_second,
                                     rows * row_flops / run.flops_per_second));
    }
    return curve;
  }
};

// The mean time of a token, in ns.
double TimeOfToken(const ModelConfig& config, const std::vector<double>& shares, uint32_t streams,
                   const RunShape& run) {
  const auto bytes_of = [&](const std::vector<double>& parts, double context) {
    return BytesPerToken(config, parts, context, static_cast<double>(run.number_bytes),
                         run.kv_precision);
  };
  const double depth = std::accumulate(shares.begin(), shares.end(), 0.0);
  StageWork ends, block;
  ends.weight_bytes = bytes_of({}, 0);
  ends.row_bytes = bytes_of({}, run.context) - ends.weight_bytes;
  ends.row_flops = FlopsPerToken(config, {}, run.context);
  block.weight_bytes = bytes_of({1.0}, 0) - ends.weight_bytes;
  const double entries = bytes_of(shares, run.context) - bytes_of(shares, 0) - ends.row_bytes;
  block.row_bytes = entries / depth;
  block.row_flops = (FlopsPerToken(config, shares, run.context) - ends.row_flops) / depth;

  BackendLimits limits;
  limits.slots = limits.ends = streams;
  limits.block_rows = std::min(streams, run.block_rows);
  StageCosts costs;
  costs.ends = ends.Cost(run, streams);
  costs.block = block.Cost(run, limits.block_rows);
  Staging staging(costs, ShapeOf(config), limits);
  for (uint32_t i = 0; i < kTokens; ++i) {
    // Evenly spread, and so that any tokens in a row have about the shares of all.
    const double draw = std::fmod(i * 0.6180339887498949, 1.0);
    const auto takes = [draw](double share) { return draw < share; };
    staging.CountDepth(std::max<uint32_t>(1, std::count_if(shares.begin(), shares.end(), takes)));
  }
  return staging.LeastTimeOfToken(streams);
}

}  // namespace

double IdealRatio(const ModelConfig& config, const RunShape& run) {
  return TimeOfToken(VanillaTwin(config), {1.0}, run.block_rows, run) /
         TimeOfToken(config, run.shares, run.streams, run);
}

}  // namespace recurve
