// SPDX-License-Identifier: Apache-2.0
// Models of published sizes, and what a token costs in them.
#ifndef RECURVE_ENGINE_BENCH_SHAPES_H_
#define RECURVE_ENGINE_BENCH_SHAPES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/precision.h"
#include "engine/model/config.h"

namespace recurve {

// The SmolLM-like sizes of the Mixture-of-Recursions paper (arXiv 2507.10524, table 6): 135m, 360m,
// 730m or 1.7b. One recursion is the vanilla Llama model; more give a middle_cycle model with
// linear expert-choice routers. `layers` 0: the smallest number not below the table's with (layers
// - 2) a multiple of `recursions`. InvalidArgument names what is not known or does not fit.
absl::StatusOr<ModelConfig> ShapeConfig(const std::string& name, uint32_t recursions,
                                        uint32_t layers);

// Floating-point operations (2 a multiply-add) of one generated token: products, attention over
// `context` tokens, routers and LM head. `shares` [recursions]: the part of the tokens that takes
// each recursion; a recursion's own entries are as many fewer.
double FlopsPerToken(const ModelConfig& config, const std::vector<double>& shares, double context);

// Bytes of weights and entries that such a token reads if it is alone in its steps; a weight has
// `number_bytes`.
double BytesPerToken(const ModelConfig& config, const std::vector<double>& shares, double context,
                     double number_bytes, Precision kv_precision);

// The vanilla model of the same effective depth.
ModelConfig VanillaTwin(const ModelConfig& config);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BENCH_SHAPES_H_
