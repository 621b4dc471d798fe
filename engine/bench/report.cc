// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "engine/api/snapshot.h"
#include "engine/base/standard_output.h"

namespace recurve {

Figures ToFigures(const Measurement& m) {
  Figures figures = {
      {"tokens_per_second", m.tokens_per_second},
      {"steady_tokens_per_second", m.steady_tokens_per_second},
      {"prompt_tokens_per_second", m.prompt_tokens_per_second},
      {"first_token_seconds", m.first_token_seconds},
      {"cached_prompt_share", m.cached_prompt_share},
      {"mean_depth", m.mean_depth},
      {"rows_per_step", m.rows_per_step},
      {"flop_ratio", m.flop_ratio},
      {"bytes_per_token", m.bytes_per_token},
      {"steps", static_cast<double>(m.steps)},
      {"step_seconds", m.step_seconds},
      {"idle_share", m.idle_share},
      {"kv_bytes_peak", static_cast<double>(m.kv_bytes_peak)},
      {"kv_bytes_reserved_peak", static_cast<double>(m.kv_bytes_reserved_peak)},
  };
  for (const auto& [group, bytes] : m.kv_bytes_peak_by_group) {
    figures.emplace_back("kv_bytes_peak_" + group, static_cast<double>(bytes));
  }
  for (int part = 0; part < StepTotals::kParts; ++part) {
    figures.emplace_back(absl::StrCat("stage_seconds_", std::string(StepPartName(part))),
                         m.stage_seconds[part]);
  }
  for (const StepPart part : {kPartExit, kPartEntry, kPartBlock}) {  // that have layers
    figures.emplace_back(absl::StrCat("attention_seconds_", std::string(StepPartName(part))),
                         m.attention_seconds[part]);
  }
  if (m.rates.has_value()) {
    figures.emplace_back("read_bytes_per_second", m.rates->bytes_per_second);
    figures.emplace_back("peak_flops_per_second", m.rates->flops_per_second);
    figures.emplace_back("bound_share", m.bound_share);
    figures.emplace_back("ideal_ratio", m.ideal_ratio);
  }
  return figures;
}

Figures ToFigures(const SizeAnswer& size) {
  const auto number = [](uint64_t value) { return static_cast<double>(value); };
  Figures figures = {
      {"parameters", number(size.parameters)},
      {"weight_bytes", number(size.weight_bytes)},
      {"kv_pages_per_stream", number(size.pages_per_stream)},
      {"kv_pages", number(size.pages)},
      {"kv_bytes", number(size.kv_bytes)},
      {"expected_kv_bytes", number(size.expected_kv_bytes)},
  };
  for (const auto& [group, bytes] : size.expected_bytes_by_group) {
    figures.emplace_back("expected_kv_bytes_" + group, number(bytes));
  }
  figures.emplace_back("memory_bytes", number(size.weight_bytes + size.kv_bytes));
  if (size.step_seconds > 0) {
    figures.emplace_back("step_seconds", size.step_seconds);
    figures.emplace_back("tokens_per_second", size.tokens_per_second);
  }
  if (size.prompt_tokens_per_second > 0) {
    figures.emplace_back("prompt_tokens_per_second", size.prompt_tokens_per_second);
  }
  return figures;
}

Figures Medians(const std::vector<Figures>& runs) {
  Figures medians = runs.front();
  for (size_t i = 0; i < medians.size(); ++i) {
    std::vector<double> values;
    values.reserve(runs.size());
    for (const Figures& run : runs) values.push_back(run[i].second);
    std::sort(values.begin(), values.end());
    medians[i].second = (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
  }
  return medians;
}

absl::Status PrintJson(const nlohmann::json& run, const Figures& figures,
                       const std::string& policy) {
  nlohmann::ordered_json line = {{"run", run}};
  if (!policy.empty()) line["policy"] = policy;
  for (const auto& [name, value] : figures) line[name] = value;
  std::printf("%s\n", line.dump().c_str());
  return FlushStandardOutput();
}

void PrintText(const Figures& figures) {
  for (const auto& [name, value] : figures) {
    const bool whole = value == std::floor(value) && value < 1e15;  // and so all its digits
    std::printf(whole ? "%-26s %.0f\n" : "%-26s %.6g\n", name.c_str(), value);
  }
}

void PrintKernels(const std::vector<KernelFigures>& kernels, bool json) {
  KernelFigures all = {.name = "all"};
  const auto print = [json](const KernelFigures& kernel, std::string_view part) {
    const std::string of_part = std::string(part);
    if (json) {
      const nlohmann::ordered_json line = {{"run", "kernel"},       {"kernel", kernel.name},
                                           {"part", of_part},       {"launches", kernel.launches},
                                           {"bytes", kernel.bytes}, {"flops", kernel.flops}};
      std::printf("%s\n", line.dump().c_str());
    } else {
      std::printf("%-18s %-9s %7.4g launches %9.4g MB %9.4g GFLOP\n", kernel.name.c_str(),
                  of_part.c_str(), kernel.launches, kernel.bytes / 1e6, kernel.flops / 1e9);
    }
  };
  for (const KernelFigures& kernel : kernels) {
    print(kernel, StepPartName(kernel.part));
    all.launches += kernel.launches;
    all.bytes += kernel.bytes;
    all.flops += kernel.flops;
  }
  if (!kernels.empty()) print(all, "step");
}

void PrintProduct(const std::vector<ProductFigures>& figures, bool json) {
  if (!json) {
    const ProductFigures& first = figures.front();
    std::printf("%s, %u x %u; the machine reads %.3g GB/s and computes %.4g GFLOP/s\n",
                first.name.c_str(), first.shape.outputs, first.shape.inputs,
                first.rates.bytes_per_second / 1e9, first.rates.flops_per_second / 1e9);
  }
  for (const ProductFigures& f : figures) {
    if (json) {
      const nlohmann::ordered_json line = {
          {"run", "product"},
          {"product", f.name},
          {"outputs", f.shape.outputs},
          {"inputs", f.shape.inputs},
          {"rows", f.rows},
          {"seconds", f.seconds},
          {"weight_bytes_per_second", f.weight_bytes_per_second},
          {"flops_per_second", f.flops_per_second},
          {"read_bytes_per_second", f.rates.bytes_per_second},
          {"peak_flops_per_second", f.rates.flops_per_second},
          {"bound_share", f.bound_share},
      };
      std::printf("%s\n", line.dump().c_str());
    } else {
      std::printf("  rows %3u %9.1f us %7.2f GB/s %7.1f GFLOP/s %4.0f %% of the bound\n", f.rows,
                  f.seconds * 1e6, f.weight_bytes_per_second / 1e9, f.flops_per_second / 1e9,
                  f.bound_share * 100);
    }
  }
}

void PrintAttention(const std::vector<AttentionFigures>& figures, bool json) {
  for (const AttentionFigures& f : figures) {
    if (json) {
      const nlohmann::ordered_json line = {{"run", "attention"},
                                           {"entries", f.entries},
                                           {"rows", f.rows},
                                           {"from_memory_seconds", f.from_memory},
                                           {"from_cache_seconds", f.from_cache}};
      std::printf("%s\n", line.dump().c_str());
    } else {
      std::printf("entries %4u rows %2u %7.2f ns from memory %7.2f ns from the cache\n", f.entries,
                  f.rows, f.from_memory * 1e9, f.from_cache * 1e9);
    }
  }
}

}  // namespace recurve
