// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/cpu_backend.h"

#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/arithmetic.h"
#include "engine/backend/limits.h"
#include "engine/backend/model_shape.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

// More are typing errors.
constexpr uint32_t kMostThreads = 4096;
constexpr BackendMaxima kMaxima = {.slots = uint32_t{1} << 24, .hidden_rows = uint32_t{1} << 24};

absl::Status CheckThreads(uint32_t threads) {
  if (threads >= 1 && threads <= kMostThreads) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("threads: found ", threads, ", expected 1 to ", kMostThreads));
}

// That sums of products in int8 cannot overflow.
absl::Status CheckInputs(const ModelConfig& config, Precision precision) {
  if (precision != Precision::kInt8) return absl::OkStatus();
  const std::pair<const char*, uint32_t> inputs[] = {
      {"hidden_size", config.hidden_size},
      {"intermediate_size", config.intermediate_size},
      {"num_attention_heads * head_dim", config.num_heads * config.head_dim}};
  for (const auto& [name, count] : inputs) {
    if (count <= kMaxInt8Inputs) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--precision is int8, whose products have at most ", kMaxInt8Inputs,
                     " inputs; the model's ", name, " is ", count));
  }
  return absl::OkStatus();
}

// Adds the time from construction to destruction.
class PartTimer {
 public:
  explicit PartTimer(uint64_t& ns) : ns_(ns), begin_(std::chrono::steady_clock::now()) {}
  ~PartTimer() {
    const auto time = std::chrono::steady_clock::now() - begin_;
    ns_ += static_cast<uint64_t>(std::chrono::nanoseconds(time).count());
  }
  PartTimer(const PartTimer&) = delete;
  PartTimer& operator=(const PartTimer&) = delete;

 private:
  uint64_t& ns_;
  const std::chrono::steady_clock::time_point begin_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CpuBackend>> CpuBackend::Create(std::shared_ptr<const Model> model,
                                                               const CpuBackendOptions& options) {
  RETURN_IF_ERROR(CheckLimits(options.limits, model->config, kMaxima));
  RETURN_IF_ERROR(CheckThreads(options.threads));
  RETURN_IF_ERROR(CheckInputs(model->config, options.precision));
  ASSIGN_OR_RETURN(std::unique_ptr<ThreadTeam> team, ThreadTeam::Create(options.threads));
  ASSIGN_OR_RETURN(KvPool pool,
                   KvPool::Create(model->config, options.kv_precision, options.limits.pages));
  ASSIGN_OR_RETURN(PackedModel packed, PackModel(std::move(model), options.precision, *team));
  std::unique_ptr<CpuBackend> backend(
      new CpuBackend(options, std::move(team), std::move(packed), std::move(pool)));
  RETURN_IF_ERROR(backend->Allocate());
  return backend;
}

BackendFacts CpuBackend::Describe(const Model& model, const CpuBackendOptions& options) {
  BackendFacts facts;
  facts.name = "cpu";
  facts.device = IsaName(options.isa);
  facts.arithmetic = kReferenceArithmetic;
  facts.threads = options.threads;
  facts.page_bytes = CpuPageBytes(model.config, options.kv_precision);
  facts.memory_share = 0.5;  // the rest of the machine, and activations, need memory too
  facts.queue_depth = 0;     // a step is computed while it is submitted
  facts.max_slots = kMaxima.slots;
  return facts;
}

CpuBackend::CpuBackend(const CpuBackendOptions& options, std::unique_ptr<ThreadTeam> team,
                       PackedModel model, KvPool pool)
    : options_(options),
      team_(std::move(team)),
      model_(std::move(model)),
      kernels_(KernelsFor(options.isa)),
      pool_(std::move(pool)),
      table_(ShapeOf(model_.config()), options.limits, model_.config().vocab_size,
             PageEntries(model_.config())),
      selection_(options.limits.slots),
      batch_(options.limits, RowsTogether(model_.config())),
      evictor_(ShapeOf(model_.config()), options.limits),
      layers_(model_, kernels_, options.precision, *team_, pool_, evictor_),
      router_(model_, kernels_),
      sampling_(options.limits, model_.config().vocab_size, options.threads),
      passes_(MaxRows(options.limits)),
      outcomes_(options.limits.slots),
      results_(options.limits) {}

absl::Status CpuBackend::Allocate() {
  RETURN_IF_ERROR(layers_.Allocate(options_.limits));
  RETURN_IF_ERROR(router_.Allocate(options_.limits));
  return logits_.Allocate(options_.limits.ends, model_.config().vocab_size, Precision::kF32);
}

absl::Status CpuBackend::Submit(const StepPlan& plan) {
  return results_.Fill([&](StepResult& result) { return Step(plan, result); });
}

absl::Status CpuBackend::Collect(StepResult& result) { return results_.Take(result); }

absl::Status CpuBackend::Step(const StepPlan& plan, StepResult& result) {
  RETURN_IF_ERROR(table_.Apply(
      plan, [this](const Evict& evict) { evictor_.Run(table_.slot(evict.slot), evict, pool_); }));
  for (const PageCopy& copy : plan.copies) pool_.Copy(copy);
  for (const Admission& admission : plan.admits) {
    sampling_.Begin(admission.slot);
    evictor_.Reset(admission.slot, admission.eviction);
  }
  for (const TokenChange& change : plan.tokens) {
    sampling_.Take(table_.slot(change.slot), change);
  }
  result.epoch = plan.epoch;
  for (uint32_t id = 0; id < table_.size(); ++id) {
    outcomes_[id] = {};
    outcomes_[id].slot = id;
  }
  if (Selection::EndsRun(table_, plan)) {
    RETURN_IF_ERROR(RunExit(plan, result));
    RETURN_IF_ERROR(RunEntry(plan, result));
  }
  RETURN_IF_ERROR(RunBlock(plan, result));
  for (const Outcome& outcome : outcomes_) {
    if (outcome.ran != 0) result.outcomes.push_back(outcome);
  }
  return absl::OkStatus();
}

absl::Status CpuBackend::CheckPages(const std::vector<uint32_t>& slots, Stage stage) const {
  const StepShape& shape = table_.shape();
  for (const uint32_t id : slots) {
    const Slot& slot = table_.slot(id);
    const SlotState& state = slot.state;
    if (stage == Stage::kExit) {
      RETURN_IF_ERROR(table_.CheckPages(id, shape.exit_group(), state.rows));
    } else if (stage == Stage::kEntry) {
      RETURN_IF_ERROR(table_.CheckPages(id, shape.entry_group(), SpanRows(state, slot.limits)));
    } else if (shape.appends(state.recursion)) {
      RETURN_IF_ERROR(table_.CheckPages(id, shape.group(state.recursion), state.active));
    }
  }
  return absl::OkStatus();
}

absl::Status CpuBackend::RunExit(const StepPlan& plan, StepResult& result) {
  const std::vector<uint32_t>& slots = selection_.Exit(table_, plan);
  if (slots.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(CheckPages(slots, Stage::kExit));
  batch_.MakeExit(table_, slots, !model_.exit.empty());
  RETURN_IF_ERROR(sampling_.Prepare(table_, slots, batch_));
  {
    PartTimer timer(result.part_ns[kPartExit]);
    team_->Run([this](uint32_t thread) { ExitRows(thread); });
  }
  result.attention_ns[kPartExit] = layers_.TakeAttentionTime();
  {
    PartTimer timer(result.part_ns[kPartSampling]);
    Sample(slots, result);
  }
  result.part_rows[kPartSampling] = batch_.logit_rows();
  for (uint32_t id = 0; id < table_.size(); ++id) {
    if (outcomes_[id].ran == 0) continue;
    const std::vector<uint32_t>& depths = table_.slot(id).row_depth;
    result.part_rows[kPartExit] += static_cast<uint32_t>(depths.size());
    result.depths.insert(result.depths.end(), depths.begin(), depths.end());
    table_.Exited(id, outcomes_[id].token, outcomes_[id].flags);
  }
  return absl::OkStatus();
}

void CpuBackend::ExitRows(uint32_t thread) {
  const uint32_t hidden = model_.config().hidden_size;
  const RowRange part = PartOfThread(batch_.size(), thread, team_->size());
  for (uint32_t i = part.begin; i < part.end; ++i) {
    std::memcpy(layers_.x(i), router_.hidden(batch_.rows()[i].hidden), hidden * sizeof(float));
  }
  LayerJob job;
  for (const PackedLayer& layer : model_.exit) {
    job.layer = &layer;
    job.queries = job.index + 1 == model_.exit.size() ? batch_.query_rows() : batch_.size();
    layers_.Run(table_, batch_, job, thread);
    ++job.index;
  }
  if (batch_.logit_rows() == 0) return;
  // Without a layer x is complete for this thread's share alone, which is all that the norm reads.
  layers_.RunHead(batch_.logit_rows(), logits_, thread);
}

void CpuBackend::Sample(const std::vector<uint32_t>& slots, StepResult& result) {
  team_->Run([this](uint32_t thread) { sampling_.Run(table_, batch_, logits_, thread); });
  for (const uint32_t id : slots) {
    const SamplingStage::Verdict verdict = sampling_.VerdictOf(batch_, id);
    outcomes_[id].ran = kRanExit;
    outcomes_[id].token = verdict.token;
    outcomes_[id].flags = verdict.flags;
  }
  sampling_.Report(table_, batch_, logits_, result);
}

absl::Status CpuBackend::RunEntry(const StepPlan& plan, StepResult& result) {
  const std::vector<uint32_t>& slots = selection_.Entry(table_, plan);
  if (slots.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(CheckPages(slots, Stage::kEntry));
  batch_.MakeEntry(table_, slots);
  for (const Row& row : batch_.rows()) {
    if (table_.slot(row.slot).TokenAt(row.position) == kNoToken) {
      return absl::InternalError(
          absl::StrCat("plan: slot ", row.slot, " has no token at position ", row.position));
    }
  }
  {
    PartTimer timer(result.part_ns[kPartEntry]);
    team_->Run([this](uint32_t thread) { EntryRows(thread); });
  }
  result.attention_ns[kPartEntry] = layers_.TakeAttentionTime();
  result.part_rows[kPartEntry] = batch_.size();
  for (const uint32_t id : slots) {
    table_.Entered(id);
    outcomes_[id].ran |= kRanEntry;
    outcomes_[id].rows = table_.slot(id).state.rows;
  }
  return absl::OkStatus();
}

void CpuBackend::EntryRows(uint32_t thread) {
  const RowRange part = PartOfThread(batch_.size(), thread, team_->size());
  for (uint32_t i = part.begin; i < part.end; ++i) {
    const Row& row = batch_.rows()[i];
    model_.Embed(table_.slot(row.slot).TokenAt(row.position), layers_.x(i));
  }
  LayerJob job;
  job.queries = batch_.size();
  for (const PackedLayer& layer : model_.entry) {
    job.layer = &layer;
    layers_.Run(table_, batch_, job, thread);
    ++job.index;
  }
  for (uint32_t i = part.begin; i < part.end; ++i) {
    std::memcpy(router_.hidden(batch_.rows()[i].hidden), layers_.x(i),
                model_.config().hidden_size * sizeof(float));
  }
}

absl::Status CpuBackend::RunBlock(const StepPlan& plan, StepResult& result) {
  const std::vector<uint32_t>& slots = selection_.Block(table_, plan);
  if (slots.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(CheckPages(slots, Stage::kBlock));
  batch_.MakeBlock(table_, slots, model_.config().kv_mode == KvMode::kSharedUpdate);
  for (const Row& row : batch_.rows()) {
    if (row.recursion < 2 || row.entry == kNoEntry) continue;
    pool_.Score(table_.slot(row.slot), row.group, row.entry) = router_.Score(row);
  }
  {
    PartTimer timer(result.part_ns[kPartBlock]);
    team_->Run([this](uint32_t thread) { BlockLayers(thread); });
  }
  result.attention_ns[kPartBlock] = layers_.TakeAttentionTime();
  {
    PartTimer timer(result.part_ns[kPartRouters]);
    team_->Run([this](uint32_t thread) {
      router_.Update(table_, batch_, PartOfThread(batch_.size(), thread, team_->size()), layers_,
                     layers_.linear_scratch(thread), passes_.data());
    });
  }
  result.part_rows[kPartBlock] = result.part_rows[kPartRouters] = batch_.size();
  for (uint32_t i = 0; i < batch_.size();) {  // rows of a slot lie together
    const uint32_t id = batch_.rows()[i].slot;
    const uint32_t ran = table_.slot(id).state.active;
    table_.RanBlock(id, &passes_[i]);
    outcomes_[id].ran |= kRanBlock;
    outcomes_[id].active = table_.slot(id).state.active;
    i += ran;
  }
  return absl::OkStatus();
}

void CpuBackend::BlockLayers(uint32_t thread) {
  const ModelConfig& config = model_.config();
  const RowRange part = PartOfThread(batch_.size(), thread, team_->size());
  for (uint32_t i = part.begin; i < part.end; ++i) {
    std::memcpy(layers_.x(i), router_.BlockInput(batch_.rows()[i]),
                config.hidden_size * sizeof(float));
  }
  LayerJob job;
  job.queries = batch_.size();
  for (; job.index < config.layers_per_recursion(); ++job.index) {
    job.layer = &model_.block[config.block_layer(job.index)];
    const bool last = job.index + 1 == config.layers_per_recursion();
    job.next = last ? nullptr : &model_.block[config.block_layer(job.index + 1)];
    layers_.Run(table_, batch_, job, thread);
  }
}

}  // namespace recurve
