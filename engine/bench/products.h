// SPDX-License-Identifier: Apache-2.0
// The products of a model by themselves, at each number of rows, beside what bounds them.
#ifndef RECURVE_ENGINE_BENCH_PRODUCTS_H_
#define RECURVE_ENGINE_BENCH_PRODUCTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/machine_probe.h"
#include "engine/model/config.h"

namespace recurve {

inline constexpr uint32_t kProductRows[] = {1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 128, 256};

struct NamedProduct {
  std::string name;
  ProductShape shape;
};

// Of a layer in the order in which they come, then the LM head.
std::vector<NamedProduct> ProductsOf(const ModelConfig& config);

// Of one product with so many rows; each a median over rounds.
struct ProductFigures {
  std::string name;
  ProductShape shape;
  uint32_t rows = 0;
  double seconds = 0;
  double weight_bytes_per_second = 0;
  double flops_per_second = 0;
  MachineRates rates;  // of the machine, measured in the same rounds
  // The least time that those rates allow, reading weights once and multiplying, over `seconds`.
  double bound_share = 0;
};

// The product at all of kProductRows. Every round measures the machine and then each number of rows
// once, so that a machine that is slow for a while slows all. Precondition: rounds >= 1.
absl::StatusOr<std::vector<ProductFigures>> MeasureProduct(MachineProbe& probe,
                                                           const NamedProduct& product,
                                                           uint32_t rounds);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BENCH_PRODUCTS_H_
