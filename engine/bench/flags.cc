// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/flags.h"

#include <limits>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/backend/precision.h"
#include "engine/base/flag_values.h"
#include "engine/base/quotable.h"
#include "engine/base/status_macros.h"
#include "engine/bench/footer.h"

namespace recurve {
namespace {

constexpr uint64_t kMostQueued = 1;  // a backend holds two steps
constexpr uint64_t kMost32 = std::numeric_limits<uint32_t>::max();

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

void AddModelFlags(CLI::App& app, BenchFlags& f) {
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

void AddSizeFlags(CLI::App& app, BenchFlags& f) {
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

void AddKernelFlags(CLI::App& app, BenchFlags& f) {
  app.add_flag(
         "--kernels", f.kernels,
         "Run no model; measure the products of its shape, of any number of rows, beside what "
         "the machine reads and computes")
      ->group("Kernels")
      ->excludes("--size");
}

void AddAttentionFlags(CLI::App& app, BenchFlags& f) {
  app.add_flag("--attention", f.attention,
               "Run no model; measure the CPU's attention alone, with heads as the model has them")
      ->group("Attention")
      ->excludes("--size");
}

void AddLoadFlags(CLI::App& app, BenchFlags& f) {
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

void AddEngineFlags(CLI::App& app, BenchFlags& f) {
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

absl::Status ParsePolicies(BenchFlags& f) {
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

}  // namespace

void AddFlags(CLI::App& app, BenchFlags& flags) {
  AddModelFlags(app, flags);
  AddSizeFlags(app, flags);
  AddKernelFlags(app, flags);
  AddAttentionFlags(app, flags);
  AddLoadFlags(app, flags);
  AddEngineFlags(app, flags);
}

absl::Status SettleFlags(BenchFlags& f) {
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

}  // namespace recurve
