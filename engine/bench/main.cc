// SPDX-License-Identifier: Apache-2.0
// recurve-bench: the engine alone, no network.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/backend/factory/make_backend.h"
#include "engine/backend/precision.h"
#include "engine/base/flag_values.h"
#include "engine/base/standard_output.h"
#include "engine/base/status_macros.h"
#include "engine/bench/flags.h"
#include "engine/bench/measurement.h"
#include "engine/bench/products.h"
#include "engine/bench/report.h"
#include "engine/bench/shapes.h"

namespace recurve {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitBadFlags = 2;  // found without looking at the model

// The default depths of a model whose router is not asked.
void FillShares(uint32_t recursions, BenchFlags& f) {
  for (uint32_t r = 0; r < recursions; ++r) {
    f.bench.shares.push_back(1.0 - static_cast<double>(r) / recursions);
  }
}

// Loads the model, or draws one and settles the default depths.
absl::StatusOr<std::shared_ptr<const Model>> MakeModel(BenchFlags& f) {
  if (!f.model.empty()) {
    ASSIGN_OR_RETURN(Model model, LoadModel(f.model));
    return std::make_shared<const Model>(std::move(model));
  }
  ASSIGN_OR_RETURN(const ModelConfig config, ShapeConfig(f.shape, f.recursions, f.layers));
  if (f.depths.empty()) FillShares(f.recursions, f);
  RETURN_IF_ERROR(CheckBench(config, f.bench));  // weights take a while to draw
  std::fprintf(stderr, "recurve-bench: drawing random weights\n");
  return std::make_shared<const Model>(RandomModel(
      config, DataType::kBf16, f.bench.seed, std::max(1U, std::thread::hardware_concurrency())));
}

void NoteEarlyEndings(const Measurement& m, uint32_t streams) {
  if (m.ended_early == 0) return;
  std::fprintf(
      stderr,
      "recurve-bench: %u of %u streams had ended when the last one got its first token, so "
      "tokens_per_second is of fewer; raise --new_tokens\n",
      m.ended_early, streams);
}

// The model, of which --shape has a configuration alone.
absl::StatusOr<Model> ModelOrConfig(const BenchFlags& f) {
  if (!f.model.empty()) return LoadModel(f.model);
  Model model;
  ASSIGN_OR_RETURN(model.config, ShapeConfig(f.shape, f.recursions, f.layers));
  return model;
}

absl::Status PrintSize(BenchFlags& f, const BackendBuilder& builder) {
  ASSIGN_OR_RETURN(const Model model, ModelOrConfig(f));
  const ModelConfig& config = model.config;
  f.bench.prompt_tokens = f.bench.new_tokens = 1;  // which say nothing here
  RETURN_IF_ERROR(CheckBench(config, f.bench));
  if (f.bench.shares.empty()) FillShares(config.recursions(), f);
  const uint32_t context = f.context == 0 ? config.max_positions : f.context;
  if (context > config.max_positions) {
    return absl::InvalidArgumentError(
        absl::StrCat("--context is ", context, "; the model's is ", config.max_positions));
  }
  const SizeAnswer size = ComputeSize(config, {.streams = f.bench.streams,
                                               .context = context,
                                               .number_bytes = f.bench.number_bytes,
                                               .kv_precision = f.bench.kv_precision,
                                               .page_bytes = builder.Describe(model).page_bytes,
                                               .shares = f.bench.shares,
                                               .bytes_per_second = f.bandwidth * 1e9,
                                               .flops_per_second = f.tflops * 1e12});
  if (f.format == "json") return PrintJson("size", ToFigures(size));
  PrintText(ToFigures(size));
  return FlushStandardOutput();
}

// For `flag`, which asks for it.
absl::StatusOr<std::unique_ptr<MachineProbe>> MakeProbe(const BenchFlags& f,
                                                        const BackendBuilder& builder,
                                                        const char* flag) {
  ASSIGN_OR_RETURN(std::unique_ptr<MachineProbe> probe, builder.MakeProbe());
  if (probe != nullptr) return probe;
  return absl::InvalidArgumentError(
      absl::StrCat(flag, " is of --backend=cpu alone; --backend is ", f.backend.name));
}

absl::Status MeasureKernels(const BenchFlags& f, const BackendBuilder& builder) {
  ASSIGN_OR_RETURN(const Model model, ModelOrConfig(f));
  ASSIGN_OR_RETURN(const std::unique_ptr<MachineProbe> probe, MakeProbe(f, builder, "--kernels"));
  const BackendFacts facts = builder.Describe(model);
  if (f.format != "json") {
    std::printf("medians of %u rounds; %s, %s, %u threads\n", f.repeat, f.precision.c_str(),
                facts.device.c_str(), facts.threads);
  }
  for (const NamedProduct& product : ProductsOf(model.config)) {
    std::fprintf(stderr, "recurve-bench: %s\n", product.name.c_str());
    ASSIGN_OR_RETURN(const auto figures, MeasureProduct(*probe, product, f.repeat));
    PrintProduct(figures, f.format == "json");
    RETURN_IF_ERROR(FlushStandardOutput());
  }
  return absl::OkStatus();
}

absl::Status MeasureAttentionAlone(const BenchFlags& f, const BackendBuilder& builder) {
  ASSIGN_OR_RETURN(const Model model, ModelOrConfig(f));
  ASSIGN_OR_RETURN(const std::unique_ptr<MachineProbe> probe, MakeProbe(f, builder, "--attention"));
  ASSIGN_OR_RETURN(const auto figures, probe->MeasureAttention(model.config, f.bench.kv_precision,
                                                               f.repeat, f.bench.seed));
  if (f.format != "json") {
    std::printf("medians of %u rounds; KV %s, %s, one thread\n", f.repeat,
                PrecisionName(f.bench.kv_precision), builder.Describe(model).device.c_str());
  }
  PrintAttention(figures, f.format == "json");
  return FlushStandardOutput();
}

absl::Status Run(BenchFlags& f, BackendBuilder& builder) {
  ASSIGN_OR_RETURN(const auto model, MakeModel(f));
  ASSIGN_OR_RETURN(const auto bench, Bench::Create(model, f.bench, builder));
  for (const MemoryPiece& piece : SummarizeMemory(bench->device_memory())) {
    std::fprintf(stderr, "recurve-bench: device memory: %12s bytes, %s\n",
                 absl::StrCat(piece.bytes).c_str(), piece.name.c_str());
  }
  for (const std::string& warning : bench->warnings()) {
    std::fprintf(stderr, "recurve-bench: %s\n", warning.c_str());
  }
  const bool compares = f.policies.size() > 1;
  std::vector<std::vector<Figures>> runs(f.policies.size());
  std::vector<KernelFigures> kernels;
  for (uint32_t i = 0; i < f.warmup + f.repeat; ++i) {
    const bool warm = i >= f.warmup;
    std::fprintf(stderr, "recurve-bench: %s %u of %u\n", warm ? "run" : "warm-up",
                 warm ? i - f.warmup + 1 : i + 1, warm ? f.repeat : f.warmup);
    for (size_t p = 0; p < f.policies.size(); ++p) {
      bench->set_policy(f.policies[p]);
      ASSIGN_OR_RETURN(const Measurement measurement, bench->Run());
      if (!warm) continue;
      NoteEarlyEndings(measurement, f.bench.streams);
      runs[p].push_back(ToFigures(measurement));
      kernels = bench->CountKernels(measurement);
      if (f.format != "json") continue;
      RETURN_IF_ERROR(PrintJson(runs[p].size(), runs[p].back(), compares ? f.policy_names[p] : ""));
    }
  }
  PrintKernels(kernels, f.format == "json");
  for (size_t p = 0; p < f.policies.size(); ++p) {
    const Figures medians = Medians(runs[p]);
    const std::string policy = compares ? f.policy_names[p] : "";
    if (f.format == "json") {
      RETURN_IF_ERROR(PrintJson("median", medians, policy));
      continue;
    }
    std::printf("medians of %u runs; %s, KV %s, %s, %u threads%s\n", f.repeat, f.precision.c_str(),
                PrecisionName(f.bench.kv_precision), bench->facts().device.c_str(),
                bench->facts().threads, compares ? absl::StrCat("; ", policy).c_str() : "");
    for (const auto& [name, value] : medians) std::printf("%-26s %.6g\n", name.c_str(), value);
  }
  return FlushStandardOutput();
}

// Prints why it failed; returns the exit code.
int Fail(int code, const std::string& why) {
  std::fprintf(stderr, "recurve-bench: %s\n", why.c_str());
  return code;
}

int Main(int argc, char** argv) {
  CLI::App app("Measures Recurve's engine alone: schedule and backend, no network, no text.",
               "recurve-bench");
  BenchFlags flags;
  AddFlags(app, flags);
  if (const absl::Status status = CheckFlagsHaveValues(argc, argv); !status.ok())
    return Fail(kExitBadFlags, std::string(status.message()));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (app.exit(error) != 0) return kExitBadFlags;
    const absl::Status printed = FlushStandardOutput();  // --help
    return printed.ok() ? 0 : Fail(kExitFailed, std::string(printed.message()));
  }
  if (const absl::Status status = SettleFlags(flags); !status.ok())
    return Fail(kExitBadFlags, std::string(status.message()));
  const auto builder = OpenBackend(flags.backend);
  if (!builder.ok()) return Fail(kExitBadFlags, std::string(builder.status().message()));
  const absl::Status status = flags.size        ? PrintSize(flags, **builder)
                              : flags.kernels   ? MeasureKernels(flags, **builder)
                              : flags.attention ? MeasureAttentionAlone(flags, **builder)
                                                : Run(flags, **builder);
  return status.ok() ? 0 : Fail(kExitFailed, std::string(status.message()));
}

}  // namespace
}  // namespace recurve

int main(int argc, char** argv) {
  try {
    return recurve::Main(argc, argv);
  } catch (const std::exception& error) {  // of a library: ours throw nothing
    return recurve::Fail(recurve::kExitFailed, error.what());
  }
}
