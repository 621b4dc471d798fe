// SPDX-License-Identifier: Apache-2.0
#include "engine/assembly.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "engine/backend/model_shape.h"
#include "engine/base/machine.h"
#include "engine/base/quotable.h"
#include "engine/base/shortest.h"
#include "engine/base/status_macros.h"
#include "engine/fingerprint.h"
#include "engine/make_budget.h"
#include "engine/model/model_directory.h"
#include "engine/model/parameters.h"
#include "engine/model/weights.h"
#include "engine/schedule/measure_costs.h"
#include "engine/text_encoder.h"
#include "engine/tokenizer/chat_format.h"
#include "engine/tokenizer/utf8.h"

namespace recurve {
namespace {

const char* SharingName(Sharing sharing) {
  switch (sharing) {
    case Sharing::kNone:
      return "none";
    case Sharing::kCycle:
      return "cycle";
    case Sharing::kMiddleCycle:
      return "middle_cycle";
    case Sharing::kSequence:
      return "sequence";
    case Sharing::kMiddleSequence:
      return "middle_sequence";
  }
  return "";
}

const char* RouterName(RouterType type) {
  switch (type) {
    case RouterType::kNone:
      return "none";
    case RouterType::kExpertChoice:
      return "expert_choice";
    case RouterType::kTokenChoice:
      return "token_choice";
  }
  return "";
}

const char* KvModeName(KvMode mode) {
  switch (mode) {
    case KvMode::kRecursionWise:
      return "recursion_wise";
    case KvMode::kShared:
      return "shared";
    case KvMode::kSharedUpdate:
      return "shared_update";
  }
  return "";
}

// Pages that one sequence of `tokens` tokens needs if every token is active everywhere.
uint64_t PagesOfSequence(const ModelConfig& config, uint32_t tokens) {
  return PagesForTokens(tokens, KvBudget(), PageEntries(config));
}

// The API's strings are UTF-8, and so is a label of the metrics.
absl::Status CheckModelName(const std::string& name) {
  const size_t bad = FindInvalidUtf8(name);
  if (bad == std::string_view::npos) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "--model_name is \"%s\", which is not UTF-8 from the byte at offset %d on; give the model "
      "another name, which is that of its directory by default",
      Quotable(name), bad));
}

// What "auto" of --kv_precision stands for is left to the backend.
absl::StatusOr<BackendOptions> BackendOptionsOf(const EngineOptions& options) {
  const ModelOptions& m = options.model;
  const std::optional<Precision> precision = ParsePrecision(m.precision);
  if (!precision) {
    return absl::InvalidArgumentError(
        absl::StrCat("--precision is '", m.precision, "'; this version has f32, bf16 and int8"));
  }
  const std::optional<Precision> kv_precision = ParseKvPrecision(m.kv_precision, *precision);
  if (!kv_precision) {
    return absl::InvalidArgumentError(absl::StrCat("--kv_precision is '", m.kv_precision,
                                                   "'; this version has auto, f32, bf16 and int8"));
  }
  BackendOptions backend;
  backend.name = m.backend;
  backend.precision = *precision;
  if (m.kv_precision != "auto") backend.kv_precision = kv_precision;
  backend.threads = options.model.threads;
  backend.isa = options.model.isa;
  backend.device = options.model.device;
  backend.eager = options.model.cuda_eager;
  backend.overlap = options.model.cuda_overlap;
  backend.deterministic = options.model.deterministic;
  backend.step_timeout = options.schedule.step_timeout;
  return backend;
}

// Fills in every automatic value but the number of pages; --isa stays as it was given, since what
// the backend chose is EngineInfo::isa. `precision`: of the weights.
absl::Status FillAutomaticValues(const Model& model, Precision precision, const BackendFacts& facts,
                                 EngineOptions& options) {
  ModelOptions& m = options.model;
  if (m.name.empty()) m.name = ModelName(m.directory);
  RETURN_IF_ERROR(CheckModelName(m.name));
  m.threads = facts.threads;
  if (m.kv_precision == "auto") {
    m.kv_precision = PrecisionName(AutoKvPrecision(precision));
  }

  ScheduleLimits& s = options.schedule;
  if (s.slots > facts.max_slots) {
    return absl::InvalidArgumentError(absl::StrCat("--slots is ", s.slots, "; the backend ",
                                                   facts.name, " has at most ", facts.max_slots));
  }
  s.FillIn();
  if (!s.queue_depth.has_value()) s.queue_depth = facts.queue_depth;

  MemoryOptions& memory = options.memory;
  const uint32_t model_context = model.config.max_positions;
  if (memory.max_context == 0) memory.max_context = model_context;
  if (memory.max_context > model_context) {
    return absl::InvalidArgumentError(absl::StrCat("--max_context is ", memory.max_context,
                                                   "; the model's context is ", model_context));
  }
  // A prompt as long as the context must fit into an empty queue.
  s.max_queued_tokens = std::max<uint64_t>(s.max_queued_tokens, memory.max_context);
  const double share = memory.kv_memory_share.value_or(facts.memory_share);
  if (!(share > 0.0 && share <= 1.0)) {
    return absl::InvalidArgumentError(absl::StrCat("--kv_memory_share is ", Shortest(share),
                                                   "; expected more than 0, at most 1"));
  }
  memory.kv_memory_share = share;
  return absl::OkStatus();
}

// Fills in the number of pages when `free` bytes of memory are left for them.
absl::Status FillPages(const ModelConfig& config, const BackendFacts& facts, uint64_t free,
                       EngineOptions& options, std::vector<std::string>* warnings) {
  MemoryOptions& memory = options.memory;
  if (memory.kv_pages == 0) {
    const auto bytes = static_cast<uint64_t>(static_cast<double>(free) * *memory.kv_memory_share);
    ASSIGN_OR_RETURN(memory.kv_pages,
                     AutoPages(config, facts.page_bytes, bytes, options.schedule.slots,
                               memory.max_context, warnings));
    memory.kv_pages = std::min(memory.kv_pages, facts.max_pages);
    return absl::OkStatus();
  }
  if (memory.kv_pages > facts.max_pages) {
    return absl::InvalidArgumentError(absl::StrCat("--kv_pages is ", memory.kv_pages,
                                                   "; of this model the backend ", facts.name,
                                                   " has at most ", facts.max_pages));
  }
  const uint64_t of_one = PagesOfSequence(config, memory.max_context);
  if (memory.kv_pages < of_one) {
    warnings->push_back(absl::StrCat("--kv_pages is ", memory.kv_pages, "; one sequence of ",
                                     memory.max_context, " tokens needs ", of_one,
                                     ", so that not every request fits (--max_context)"));
  }
  return absl::OkStatus();
}

BackendLimits LimitsOf(const EngineOptions& options) {
  BackendLimits limits;
  static_cast<StepLimits&>(limits) = options.schedule;
  limits.pages = options.memory.kv_pages;
  limits.max_positions = options.memory.max_context;
  limits.max_logprobs = kMaxTopLogprobs;
  limits.max_biases = kMaxLogitBiases;
  return limits;
}

EngineInfo InfoOf(const Model& model, const EngineOptions& options, const BackendFacts& facts) {
  const ModelConfig& config = model.config;
  EngineInfo info;
  info.model_name = options.model.name;
  info.backend = facts.name;
  info.precision = options.model.precision;
  info.kv_precision = options.model.kv_precision;
  info.isa = facts.device;
  info.sharing = SharingName(config.sharing);
  info.router = RouterName(config.router.type);
  info.kv_mode = KvModeName(config.kv_mode);
  info.vocab_size = config.vocab_size;
  info.max_context = options.memory.max_context;
  info.recursions = config.recursions();
  info.threads = facts.threads;
  if (config.router.type == RouterType::kExpertChoice) {
    info.router_threshold = config.router.threshold;
  }
  info.eos_token_ids = config.eos_token_ids;
  info.parameters = CountParameters(model);
  info.kv_pages = options.memory.kv_pages;
  info.kv_page_bytes = static_cast<uint32_t>(facts.page_bytes);
  info.kv_page_entries = kTileEntries * (PageTiles(config) / std::max(1U, GroupLayers(config, 1)));
  info.options = options;
  return info;
}

absl::StatusOr<ScheduleOptions> MakeScheduleOptions(const ModelConfig& config,
                                                    const EngineOptions& options) {
  ScheduleOptions schedule;
  static_cast<AdmissionLimits&>(schedule) = options.schedule;
  schedule.limits = LimitsOf(options);
  schedule.entries_per_page = PageEntries(config);
  schedule.vocab_size = config.vocab_size;
  schedule.eos_ids = config.eos_token_ids;
  ASSIGN_OR_RETURN(schedule.policy, Policy::FromName(options.schedule.policy));
  if (options.schedule.adaptive_depth) schedule.queue_time_goal = options.schedule.queue_time_goal;
  schedule.prefix_cache = options.memory.prefix_cache;
  RETURN_IF_ERROR(ValidateOptions(schedule, ShapeOf(config)));
  return schedule;
}

// The tokenizer of a model directory, null and a warning if it has none. A model may have more ids
// than its tokenizer; the other way round text could become ids that the model refuses.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& directory,
                                                         uint32_t vocab_size,
                                                         std::vector<std::string>* warnings) {
  const std::string path = absl::StrCat(directory, "/tokenizer.json");
  const TokenId id_limit = std::min<uint32_t>(vocab_size, kMaxTokenId + 1);
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Load(path, id_limit);
  if (absl::IsNotFound(tokenizer.status())) {
    warnings->push_back(absl::StrCat(
        path, " does not exist: requests must give token ids, and answers hold no text",
        DescribeOtherTokenizers(directory)));
    return nullptr;
  }
  RETURN_IF_ERROR(tokenizer.status());
  const uint32_t ids = (*tokenizer)->vocab_size();
  if (ids > vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": the largest id is ", ids - 1,
                                                   "; expected ids below vocab_size, ", vocab_size,
                                                   ", of ", directory, "/config.json"));
  }
  const std::vector<std::string>& found = (*tokenizer)->warnings();
  warnings->insert(warnings->end(), found.begin(), found.end());
  return tokenizer;
}

}  // namespace

absl::StatusOr<uint32_t> AutoPages(const ModelConfig& config, uint64_t page_bytes, uint64_t bytes,
                                   uint32_t slots, uint32_t context,
                                   std::vector<std::string>* warnings) {
  const uint64_t affordable = bytes / page_bytes;
  const uint64_t least = PagesOfSequence(config, 2);
  if (affordable < least) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "--kv_pages=auto: ", bytes, " bytes of memory are left for the cache; ", least,
        " pages of ", page_bytes,
        " bytes are the least that serves. Give the process more memory, or --kv_pages a number"));
  }
  const uint64_t of_one = PagesOfSequence(config, context);
  if (affordable < of_one) {
    warnings->push_back(absl::StrCat("--kv_pages=auto: memory holds ", affordable,
                                     " pages; one sequence of ", context, " tokens needs ",
                                     of_one));
  }
  return static_cast<uint32_t>(
      std::min<uint64_t>({slots * of_one, affordable, std::numeric_limits<uint32_t>::max()}));
}

absl::StatusOr<Assembly> Assemble(const EngineOptions& given, const BackendOpener& open_backend,
                                  std::shared_ptr<Progress> progress) {
  EngineOptions options = given;
  if (options.schedule.queue_depth.value_or(0) > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--queue_depth is ", *options.schedule.queue_depth, "; expected 0 or 1"));
  }
  ASSIGN_OR_RETURN(const BackendOptions backend_options, BackendOptionsOf(options));
  ASSIGN_OR_RETURN(const std::unique_ptr<BackendBuilder> builder, open_backend(backend_options));
  ASSIGN_OR_RETURN(Model loaded, LoadModel(options.model.directory, std::move(progress)));
  const auto model = std::make_shared<const Model>(std::move(loaded));
  std::vector<std::string> warnings = model->warnings;
  const BackendFacts facts = builder->Describe(*model);
  RETURN_IF_ERROR(FillAutomaticValues(*model, backend_options.precision, facts, options));
  RETURN_IF_ERROR(MakeBudget(options.eviction, Request(), model->config).status());

  Assembly assembly;
  assembly.config = model->config;
  ASSIGN_OR_RETURN(assembly.tokenizer,
                   LoadTokenizer(options.model.directory, model->config.vocab_size, &warnings));
  ASSIGN_OR_RETURN(const uint64_t free, builder->Prepare(model, LimitsOf(options)));
  RETURN_IF_ERROR(FillPages(model->config, facts, free, options, &warnings));
  ASSIGN_OR_RETURN(ScheduleOptions schedule, MakeScheduleOptions(model->config, options));
  ASSIGN_OR_RETURN(assembly.backend, builder->Make(options.memory.kv_pages));
  const StepShape shape = ShapeOf(model->config);
  if (facts.computes) {
    ASSIGN_OR_RETURN(schedule.costs, MeasureCosts(*assembly.backend, schedule, shape));
  }
  ASSIGN_OR_RETURN(assembly.schedule,
                   Schedule::Create(std::move(schedule), shape, Clock::Steady()));
  assembly.queue_depth = *options.schedule.queue_depth;
  assembly.step_timeout = options.schedule.step_timeout;
  assembly.info = InfoOf(*model, options, facts);
  assembly.info.fingerprint =
      Fingerprint(*model, assembly.tokenizer == nullptr ? Digest() : assembly.tokenizer->digest(),
                  options, facts.arithmetic, UsableThreads());
  assembly.info.device_memory = SummarizeMemory(assembly.backend->DeviceMemoryPieces());
  for (std::string& warning : assembly.backend->Warnings()) warnings.push_back(std::move(warning));
  const TextEncoder encoder(assembly.tokenizer.get(), options.memory.max_context);
  assembly.info.has_tokenizer = encoder.has_tokenizer();
  ASSIGN_OR_RETURN(assembly.info.chat, LoadChatFormat(options.model.directory));
  assembly.info.max_prompt_bytes = encoder.MaxPromptBytes();
  assembly.info.warnings = std::move(warnings);
  return assembly;
}

}  // namespace recurve
