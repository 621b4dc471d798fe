// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/products.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

// What rounds measured of one number of rows.
struct Rounds {
  std::vector<double> seconds, shares;
};

}  // namespace

std::vector<NamedProduct> ProductsOf(const ModelConfig& config) {
  using Use = ProductShape::Use;
  const uint32_t hidden = config.hidden_size;
  const uint32_t queries = config.num_heads * config.head_dim;
  const uint32_t qkv = queries + 2 * config.num_kv_heads * config.head_dim;
  return {
      {"qkv", {.outputs = qkv, .inputs = hidden, .use = Use::kStore}},
      {"o", {.outputs = hidden, .inputs = queries, .use = Use::kAdd}},
      {"gate_up", {.outputs = 2 * config.intermediate_size, .inputs = hidden, .use = Use::kGate}},
      {"down", {.outputs = hidden, .inputs = config.intermediate_size, .use = Use::kAdd}},
      {"head", {.outputs = config.vocab_size, .inputs = hidden, .use = Use::kStore}},
  };
}

absl::StatusOr<std::vector<ProductFigures>> MeasureProduct(MachineProbe& probe,
                                                           const NamedProduct& product,
                                                           uint32_t rounds) {
  RECURVE_CHECK(rounds >= 1);
  RETURN_IF_ERROR(probe.Load(product.shape, *std::rbegin(kProductRows)));
  const auto bytes = static_cast<double>(probe.matrix_bytes());
  const double row_flops = 2.0 * product.shape.outputs * product.shape.inputs;
  std::vector<double> reads, peaks;
  std::vector<Rounds> measured(std::size(kProductRows));
  for (uint32_t round = 0; round < rounds; ++round) {
    const MachineRates rates = probe.Measure();
    reads.push_back(rates.bytes_per_second);
    peaks.push_back(rates.flops_per_second);
    for (size_t i = 0; i < std::size(kProductRows); ++i) {
      const double seconds = probe.Time(kProductRows[i]);
      const double least = std::max(bytes / rates.bytes_per_second,
                                    kProductRows[i] * row_flops / rates.flops_per_second);
      measured[i].seconds.push_back(seconds);
      measured[i].shares.push_back(least / seconds);
    }
  }
  std::vector<ProductFigures> figures;
  for (size_t i = 0; i < std::size(kProductRows); ++i) {
    const double seconds = Median(measured[i].seconds);
    figures.push_back({.name = product.name,
                       .shape = product.shape,
                       .rows = kProductRows[i],
                       .seconds = seconds,
                       .weight_bytes_per_second = bytes / seconds,
                       .flops_per_second = kProductRows[i] * row_flops / seconds,
                       .rates = {Median(reads), Median(peaks)},
                       .bound_share = Median(measured[i].shares)});
  }
  return figures;
}

}  // namespace recurve
