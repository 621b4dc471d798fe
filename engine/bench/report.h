// SPDX-License-Identifier: Apache-2.0
// How recurve-bench tells what it measured. The printing functions write to the standard output.
#ifndef RECURVE_ENGINE_BENCH_REPORT_H_
#define RECURVE_ENGINE_BENCH_REPORT_H_

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/machine_probe.h"
#include "engine/bench/measurement.h"
#include "engine/bench/products.h"
#include "engine/bench/size.h"

namespace recurve {

// One flat object; keeps the order of fields.
using Figures = std::vector<std::pair<std::string, double>>;
Figures ToFigures(const Measurement& m);
Figures ToFigures(const SizeAnswer& size);  // without the times that are unknown

// Figure by figure, of one run or more.
Figures Medians(const std::vector<Figures>& runs);

// A line with `run`, the policy if it is given, and the figures.
absl::Status PrintJson(const nlohmann::json& run, const Figures& figures,
                       const std::string& policy = "");

// A line for each, names and numbers below each other.
void PrintText(const Figures& figures);

// A line for each kernel of a step, and one for all of them.
void PrintKernels(const std::vector<KernelFigures>& kernels, bool json);

// What the machine reaches, and a line for each number of rows.
void PrintProduct(const std::vector<ProductFigures>& figures, bool json);

// A line for each context and number of rows.
void PrintAttention(const std::vector<AttentionFigures>& figures, bool json);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BENCH_REPORT_H_
