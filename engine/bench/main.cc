// SPDX-License-Identifier: Apache-2.0
// recurve-bench: the engine alone, no network.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/backend/factory/make_backend.h"
#include "engine/backend/precision.h"
#include "engine/base/flag_values.h"
#include "engine/base/quotable.h"
#include "engine/base/standard_output.h"
#include "engine/base/status_macros.h"
#include "engine/bench/footer.h"
#include "engine/bench/measurement.h"
#include "engine/bench/products.h"
#include "engine/bench/report.h"
#include "engine/bench/shapes.h"

namespace recurve {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitBadFlags = 2;     // found without looking at the model
constexpr uint64_t kMostQueued = 1;  // a backend holds two steps
constexpr uint64_t kMost32 = std::numeric_limits<uint32_t>::max();

struct Flags {
  std::string model, shape, depths, precision = "bf16", kv_precision = "auto",
                                    policies_text = "staged", threads = "auto",
                                    queue_depth = "auto", format = "text";
  uint32_t recursions = 3, layers = 0, repeat = 5, warmup = 1;
  uint32_t ends_min = 0;             // 0: the policies'
  bool size = false;                 // print a SizeAnswer instead of running
  uint32_t context = 0;              // of --size; 0: the model's
  double bandwidth = 0, tflops = 0;  // of --size: GB/s, TFLOP/s
  bool kernels = false;              // measure products instead of running
  bool attention = false;            // measure attention alone instead of running
  BackendOptions backend;
  BenchOptions bench;
  std::vector<std::string> policy_names;  // of --policy; one, without a name, for --ends_min
  std::vector<Policy> policies;
};

// Of a flag, in decimal digits; written back without leading zeros, which CLI11 takes for octal.
CLI::Validator WholeNumber(uint64_t least, uint64_t most) {
  const auto check = [least, most](std::string& text) -> std::string {
    const std::optional<uint64_t> number = ParseWholeNumber(text);
    if (!number.has_value() || *number < least || *number > most) {
      return absl::StrCat("'", Quotable(text), "' is not possible: expected a whole number from ",
                          least, " to ", most);
    }
    text = absl::StrCat(*number);
    return "";
  };
  return CLI::Validator(check, "");
}

void AddModelFlags(CLI::App& app, Flags& f) {
  constexpr char kModel[] = "Model";
  app.add_option("--model", f.model, "Model directory")->group(kModel);
  app.add_option("--shape", f.shape, "Random weights of a published size: 135m, 360m, 730m or 1.7b")
      ->group(kModel)
      ->excludes("--model");
  app.add_option("--recursions", f.recursions, "Recursions of --shape; 1 is the vanilla model")
      ->transform(WholeNumber(0, kMost32))
      ->capture_default_str()
      ->group(kModel)
      ->excludes("--model");
  app.add_option(
         "--layers", f.layers,
         "Effective layers of --shape; 0: the published number, raised to fit the recursions")
      ->transform(WholeNumber(0, kMost32))
      ->capture_default_str()
      ->group(kModel)
      ->excludes("--model");
  app.add_option(
         "--depths", f.depths,
         "Share of the tokens that takes each recursion, such as 1,0.667,0.333, drawn per token; "
         "or 'router': the model decides, as it must where the router is token-choice. Default: "
         "1,(N-1)/N,..,1/N for --shape, router for --model")
      ->group(kModel);
}

void AddSizeFlags(CLI::App& app, Flags& f) {
  constexpr char kSize[] = "Size";
  app.add_flag("--size", f.size,
               "Run nothing; print the memory that --streams need, and the bounds of their speed")
      ->group(kSize);
  app.add_option("--context", f.context, "Tokens of a stream, prompt and new ones; 0: the model's")
      ->transform(WholeNumber(0, kMost32))
      ->capture_default_str()
      ->group(kSize)
      ->needs("--size");
  app.add_option("--bandwidth", f.bandwidth, "Of the memory, in GB/s; 0: no times")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(kSize)
      ->needs("--size");
  app.add_option("--tflops", f.tflops, "Of the products, in TFLOP/s; 0: not looked at")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(kSize)
      ->needs("--bandwidth");
}

void AddKernelFlags(CLI::App& app, Flags& f) {
  app.add_flag(
         "--kernels", f.kernels,
         "Run no model; measure the products of its shape, of any number of rows, beside what "
         "the machine reads and computes")
      ->group("Kernels")
      ->excludes("--size");
}

void AddAttentionFlags(CLI::App& app, Flags& f) {
  app.add_flag("--attention", f.attention,
               "Run no model; measure the CPU's attention alone, with heads as the model has them")
      ->group("Attention")
      ->excludes("--size");
}

void AddLoadFlags(CLI::App& app, Flags& f) {
  constexpr char kLoad[] = "Load";
  app.add_option("--streams", f.bench.streams, "Sequences in flight")
      ->transform(WholeNumber(1, 65536))
      ->capture_default_str()
      ->group(kLoad);
  app.add_option("--block_rows", f.bench.block_rows,
                 "Most generated rows in the block; 0: as many as streams")
      ->transform(WholeNumber(0, 65536))
      ->capture_default_str()
      ->group(kLoad);
  app.add_option("--prompt_tokens", f.bench.prompt_tokens, "Prompt of each stream")
      ->transform(WholeNumber(1, 1 << 24))
      ->capture_default_str()
      ->group(kLoad);
  app.add_option("--shared_prompt_tokens", f.bench.shared_prompt_tokens,
                 "Tokens with which all prompts begin; found in the prefix cache if the model "
                 "decides the depths")
      ->transform(WholeNumber(0, kMost32))
      ->capture_default_str()
      ->group(kLoad);
  app.add_option("--new_tokens", f.bench.new_tokens, "Tokens that each stream generates")
      ->transform(WholeNumber(1, 1 << 24))
      ->capture_default_str()
      ->group(kLoad);
  app.add_option("--seed", f.bench.seed, "Of weights, prompts and depths")
      ->transform(WholeNumber(0, std::numeric_limits<uint64_t>::max()))
      ->capture_default_str()
      ->group(kLoad);
}

void AddEngineFlags(CLI::App& app, Flags& f) {
  constexpr char kEngine[] = "Engine";
  app.add_option(
         "--backend", f.backend.name,
         "cpu; or cuda, a card of NVIDIA's, where the build has that (`cmake --preset "
         "cuda`); or null, which computes nothing and answers any token at once: idle_share "
         "of step_seconds is then what the schedule takes")
      ->capture_default_str()
      ->group(kEngine);
  app.add_option("--device", f.backend.device,
                 "Of cuda: the card's number among those that CUDA_VISIBLE_DEVICES shows")
      ->transform(WholeNumber(0, kMost32))
      ->capture_default_str()
      ->group(kEngine);
  app.add_flag("--cuda_eager", f.backend.eager,
               "Of cuda: kernel by kernel instead of in graphs, so that an error names its "
               "kernel: slow, same bits")
      ->group(kEngine);
  app.add_flag(
         "--cuda_overlap", f.backend.overlap,
         "Of cuda: with few rows a kernel fetches weights while the one before it still runs, "
         "unless it is false: same bits")
      ->group(kEngine);
  app.add_flag(
         "--deterministic", f.backend.deterministic,
         "Of cuda in bf16: bits depend on the row alone; false gives products of 256 rows and "
         "more to cuBLASLt, if that is installed")
      ->group(kEngine);
  app.add_option("--precision", f.precision, "f32, bf16 or, of cpu, int8")
      ->capture_default_str()
      ->group(kEngine);
  app.add_option("--kv_precision", f.kv_precision,
                 "Of keys and values: f32, bf16 or int8; auto: f32 with --precision=f32, else bf16")
      ->capture_default_str()
      ->group(kEngine);
  app.add_option(
         "--policy", f.policies_text,
         "staged, depthwise or lockstep; or several with commas between them, which take "
         "turns in each run: their figures can be compared on a machine whose speed changes. "
         "With staged among them stages are measured first, and prompts share steps with "
         "streams that generate as the server has it, row by row; else in whole chunks")
      ->capture_default_str()
      ->group(kEngine);
  app.add_option(
         "--ends_min", f.ends_min,
         "In place of a policy: EXIT and ENTRY run when so many rows wait for them, or none "
         "waits for the block. 1 is depthwise")
      ->transform(WholeNumber(1, kMost32 - 1))
      ->group(kEngine)
      ->excludes("--policy");
  app.add_option("--queue_depth", f.queue_depth,
                 "Steps queued behind the running one, 0 or 1; or auto: what is best for the "
                 "backend, 0 for cpu, which computes a step when it is submitted, 1 for cuda")
      ->capture_default_str()
      ->group(kEngine);
  app.add_flag("--prefix_cache", f.bench.prefix_cache,
               "Compute once what prompts have in common at their beginning")
      ->group(kEngine);
  app.add_option("--threads", f.threads, "Number, or auto")->capture_default_str()->group(kEngine);
  app.add_option("--isa", f.backend.isa,
                 "Of cpu: instruction set of its kernels, scalar, neon, avx2, avx512 or amx; auto: "
                 "the fastest "
                 "that the machine has. Same bits")
      ->capture_default_str()
      ->group(kEngine);
  constexpr char kRuns[] = "Runs";
  app.add_option("--repeat", f.repeat, "Measured runs")
      ->transform(WholeNumber(1, 1000))
      ->capture_default_str()
      ->group(kRuns);
  app.add_option("--warmup", f.warmup, "Runs before, not measured")
      ->transform(WholeNumber(0, 1000))
      ->capture_default_str()
      ->group(kRuns);
  app.add_option("--format", f.format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str()
      ->group(kRuns);
  app.footer(kFooter);
}

absl::Status Refuse(const char* flag, const std::string& value, const char* known) {
  return absl::InvalidArgumentError(std::string("--") + flag + " is '" + value +
                                    "'; this version has " + known);
}

absl::Status ParseDepths(const std::string& depths, std::vector<double>& shares) {
  if (depths.empty() || depths == "router") return absl::OkStatus();
  for (const std::string& part : std::vector<std::string>(absl::StrSplit(depths, ','))) {
    double share;
    if (!absl::SimpleAtod(part, &share)) {
      return absl::InvalidArgumentError("--depths has '" + part +
                                        "'; expected numbers with commas between them, or router");
    }
    shares.push_back(share);
  }
  return absl::OkStatus();
}

absl::Status ParsePolicies(Flags& f) {
  if (f.ends_min != 0) {
    f.policy_names = {""};
    f.policies = {Policy::WithEndsMin(f.ends_min)};
    return absl::OkStatus();
  }
  f.policy_names = absl::StrSplit(f.policies_text, ',');
  for (const std::string& name : f.policy_names) {
    const auto policy = Policy::FromName(name);
    if (!policy.ok()) return Refuse("policy", name, "staged, depthwise and lockstep");
    f.policies.push_back(*policy);
    if (!policy->ends_min().has_value()) f.bench.measures_costs = true;
  }
  return absl::OkStatus();
}

// Fills in what the flags say as text.
absl::Status Parse(Flags& f) {
  BackendOptions& backend = f.backend;
  const std::optional<Precision> precision = ParsePrecision(f.precision);
  if (!precision) return Refuse("precision", f.precision, "f32, bf16 and int8");
  backend.precision = *precision;
  f.bench.number_bytes = ElementSize(*precision);
  const std::optional<Precision> kv_precision = ParseKvPrecision(f.kv_precision, *precision);
  if (!kv_precision) return Refuse("kv_precision", f.kv_precision, "auto, f32, bf16 and int8");
  if (f.kv_precision != "auto") backend.kv_precision = kv_precision;
  f.bench.kv_precision = *kv_precision;
  RETURN_IF_ERROR(ParsePolicies(f));
  if (f.threads == "auto") {
    backend.threads = 0;
  } else if (const std::string why = WholeNumber(1, kMost32)(f.threads); !why.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--threads: ", why, ", or auto"));
  } else {
    backend.threads = static_cast<uint32_t>(*ParseWholeNumber(f.threads));
  }
  if (f.queue_depth != "auto") {
    if (const std::string why = WholeNumber(0, kMostQueued)(f.queue_depth); !why.empty())
      return absl::InvalidArgumentError(absl::StrCat("--queue_depth: ", why, ", or auto"));
    f.bench.queue_depth = static_cast<uint32_t>(*ParseWholeNumber(f.queue_depth));
  }
  if (f.model.empty() == f.shape.empty())
    return absl::InvalidArgumentError("give one of --model and --shape");
  return ParseDepths(f.depths, f.bench.shares);
}

// The default depths of a model whose router is not asked.
void FillShares(uint32_t recursions, Flags& f) {
  for (uint32_t r = 0; r < recursions; ++r) {
    f.bench.shares.push_back(1.0 - static_cast<double>(r) / recursions);
  }
}

// Loads the model, or draws one and settles the default depths.
absl::StatusOr<std::shared_ptr<const Model>> MakeModel(Flags& f) {
  if (!f.model.empty()) {
    ASSIGN_OR_RETURN(Model model, LoadModel(f.model));
    return std::make_shared<const Model>(std::move(model));
  }
  ASSIGN_OR_RETURN(const ModelConfig config, ShapeConfig(f.shape, f.recursions, f.layers));
  if (f.depths.empty()) FillShares(f.recursions, f);
  RETURN_IF_ERROR(CheckBench(config, f.bench));  // weights take a while to draw
  std::fprintf(stderr, "recurve-bench: drawing random weights\n");
  return std::make_shared<const Model>(RandomModel(config, DataType::kBf16, f.bench.seed));
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
absl::StatusOr<Model> ModelOrConfig(const Flags& f) {
  if (!f.model.empty()) return LoadModel(f.model);
  Model model;
  ASSIGN_OR_RETURN(model.config, ShapeConfig(f.shape, f.recursions, f.layers));
  return model;
}

absl::Status PrintSize(Flags& f, const BackendBuilder& builder) {
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
absl::StatusOr<std::unique_ptr<MachineProbe>> MakeProbe(const Flags& f,
                                                        const BackendBuilder& builder,
                                                        const char* flag) {
  ASSIGN_OR_RETURN(std::unique_ptr<MachineProbe> probe, builder.MakeProbe());
  if (probe != nullptr) return probe;
  return absl::InvalidArgumentError(
      absl::StrCat(flag, " is of --backend=cpu alone; --backend is ", f.backend.name));
}

absl::Status MeasureKernels(const Flags& f, const BackendBuilder& builder) {
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

absl::Status MeasureAttentionAlone(const Flags& f, const BackendBuilder& builder) {
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

absl::Status Run(Flags& f, BackendBuilder& builder) {
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
  Flags flags;
  AddModelFlags(app, flags);
  AddSizeFlags(app, flags);
  AddKernelFlags(app, flags);
  AddAttentionFlags(app, flags);
  AddLoadFlags(app, flags);
  AddEngineFlags(app, flags);
  if (const absl::Status status = CheckFlagsHaveValues(argc, argv); !status.ok())
    return Fail(kExitBadFlags, std::string(status.message()));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (app.exit(error) != 0) return kExitBadFlags;
    const absl::Status printed = FlushStandardOutput();  // --help
    return printed.ok() ? 0 : Fail(kExitFailed, std::string(printed.message()));
  }
  if (const absl::Status status = Parse(flags); !status.ok())
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
