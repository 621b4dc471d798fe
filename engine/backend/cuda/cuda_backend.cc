// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/cuda_backend.h"

#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/cuda/attention_bf16.h"
#include "engine/backend/cuda/kv_layout.h"
#include "engine/backend/limits.h"
#include "engine/backend/model_shape.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace recurve::cuda {
namespace {

BackendMaxima MaximaOf(const ModelConfig& config, Precision precision) {
  return {.slots = kMostSlots,
          .hidden_rows = uint32_t{1} << 24,
          .pages = MostPages(LayoutOf(config, precision), precision)};
}

// The mapped words of step `epoch`.
std::span<uint32_t> WordsOf(const MappedMemory& memory, uint32_t epoch, uint32_t words) {
  auto* const all = reinterpret_cast<uint32_t*>(memory.host);
  return {all + size_t{epoch % kMostOutstanding} * words, words};
}

// Matrix instructions add up in an order that their family has; cuBLASLt chooses its own by more
// than a row.
std::string ArithmeticOf(const CudaBackendOptions& options, const DeviceFacts& device) {
  if (options.precision == Precision::kF32) return kReferenceArithmetic;
  if (options.library_rows > 0) return "";
  return absl::StrCat("cuda bf16 ", device.architecture);
}

}  // namespace

absl::StatusOr<std::unique_ptr<CudaBackend>> CudaBackend::Create(std::shared_ptr<const Model> model,
                                                                 const CudaBackendOptions& options,
                                                                 std::unique_ptr<Runtime> runtime) {
  ASSIGN_OR_RETURN(PreparedDevice device, Prepare(std::move(model), options, std::move(runtime)));
  return Create(std::move(device), options);
}

absl::StatusOr<PreparedDevice> CudaBackend::Prepare(std::shared_ptr<const Model> model,
                                                    const CudaBackendOptions& options,
                                                    std::unique_ptr<Runtime> runtime) {
  BackendLimits limits = options.limits;
  limits.pages = 1;  // not known yet
  RETURN_IF_ERROR(CheckLimits(limits, model->config, MaximaOf(model->config, options.precision)));
  if (options.precision == Precision::kBf16) {
    RETURN_IF_ERROR(CheckHeadDim(model->config.head_dim));
  }
  PreparedDevice device;
  device.runtime = std::move(runtime);
  if (options.library_rows > 0) {
    absl::Status loaded = device.runtime->LoadProducts();
    if (loaded.ok()) {
      device.library_rows = options.library_rows;
    } else if (loaded.code() == absl::StatusCode::kFailedPrecondition) {
      device.warnings.push_back(
          absl::StrCat("--deterministic=false has no effect: ", std::string(loaded.message())));
    } else {
      return loaded;
    }
  }
  const bool has_library = device.library_rows > 0;
  ASSIGN_OR_RETURN(device.model, LoadDeviceModel(*device.runtime, std::move(model),
                                                 options.precision, has_library));
  ASSIGN_OR_RETURN(device.state, AllocateDeviceState(*device.runtime, device.model.config(), limits,
                                                     options.precision, has_library));
  return device;
}

absl::StatusOr<std::unique_ptr<CudaBackend>> CudaBackend::Create(
    PreparedDevice device, const CudaBackendOptions& options) {
  const ModelConfig& config = device.model.config();
  RETURN_IF_ERROR(CheckLimits(options.limits, config, MaximaOf(config, options.precision)));
  RETURN_IF_ERROR(AllocatePages(*device.runtime, options.limits.pages, device.state));
  std::unique_ptr<CudaBackend> backend(new CudaBackend(std::move(device), options));
  RETURN_IF_ERROR(backend->WarmUp());
  return backend;
}

BackendFacts CudaBackend::Describe(const Model& model, const CudaBackendOptions& options,
                                   const DeviceFacts& device) {
  BackendFacts facts;
  facts.name = "cuda";
  facts.device = device.name;
  facts.arithmetic = ArithmeticOf(options, device);
  facts.threads = 1;
  facts.page_bytes = PageBytes(model.config, options.precision);
  facts.memory_share = 0.9;  // the rest is for graphs, kernels and what the driver needs
  facts.queue_depth = 1;
  const BackendMaxima maxima = MaximaOf(model.config, options.precision);
  facts.max_slots = maxima.slots;
  facts.max_pages = maxima.pages;
  return facts;
}

CudaBackend::CudaBackend(PreparedDevice device, const CudaBackendOptions& options)
    : options_(options),
      warnings_(std::move(device.warnings)),
      runtime_(std::move(device.runtime)),
      model_(std::move(device.model)),
      state_(device.state),
      kernels_(*runtime_, model_, state_, {options.overlap, device.library_rows}),
      replay_(state_.step.sizes.shape, options.limits, state_.step.sizes.vocab,
              PageEntries(model_.config())),
      row_bound_(options.limits.slots) {}

absl::Status CudaBackend::Submit(const StepPlan& plan) {
  RETURN_IF_ERROR(status_);
  RECURVE_CHECK(outstanding_ < kMostOutstanding);
  status_ = Queue(plan);
  if (status_.ok()) ++outstanding_;
  return status_;
}

absl::Status CudaBackend::WarmUp() {
  if (options_.eager) runtime_->CheckEachLaunch(options_.step_timeout);
  RETURN_IF_ERROR(Send(StepPlan()));
  RETURN_IF_ERROR(kernels_.WarmUp());
  RETURN_IF_ERROR(runtime_->Mark(0));
  RETURN_IF_ERROR(runtime_->WaitFor(0, "the first run of all kernels", options_.step_timeout));
  return options_.eager ? absl::OkStatus() : kernels_.MakeGraphs();
}

absl::Status CudaBackend::Queue(const StepPlan& plan) {
  RETURN_IF_ERROR(replay_.Submit(plan));
  last_epoch_ = plan.epoch;
  return InStep(plan.epoch, Launch(plan));
}

absl::Status CudaBackend::Launch(const StepPlan& plan) {
  StepWork work;
  work.evicts = plan.evicts;
  work.copies = plan.copies.size();
  work.ends = plan.ends > 0;
  work.rows = std::max(row_bound_.Submit(plan), options_.least_rows);
  cut_for_[plan.epoch % kMostOutstanding] = kernels_.CutFor(work);
  RETURN_IF_ERROR(Send(plan));
  RETURN_IF_ERROR(kernels_.Launch(work));
  return runtime_->Mark(plan.epoch % kMostOutstanding);
}

// The plan's words to the device, in the stream's order.
absl::Status CudaBackend::Send(const StepPlan& plan) {
  const std::span<uint32_t> words = WordsOf(state_.plans, plan.epoch, state_.plan_words);
  const size_t used = writer_.Write(plan, words);
  const size_t offset =
      size_t{plan.epoch % kMostOutstanding} * state_.plan_words * sizeof(uint32_t);
  return runtime_->Copy(state_.plan, state_.plans, offset, used * sizeof(uint32_t));
}

absl::Status CudaBackend::Collect(StepResult& result) {
  RETURN_IF_ERROR(status_);
  RECURVE_CHECK(outstanding_ > 0);
  status_ = Finish(result);
  if (status_.ok()) --outstanding_;
  return status_;
}

absl::Status CudaBackend::Finish(StepResult& result) {
  const uint32_t epoch = last_epoch_ - (outstanding_ - 1);
  RETURN_IF_ERROR(WaitFor(epoch));
  result.Clear();
  ReadResult(WordsOf(state_.results, epoch, state_.result_layout.words), state_.result_layout,
             result);
  if (result.epoch != epoch) {
    return absl::InternalError(
        absl::StrCat("the device answered step ", result.epoch, ", expected ", epoch));
  }
  RETURN_IF_ERROR(ReadRawLogits(result));
  RETURN_IF_ERROR(replay_.Replay(result));
  row_bound_.Collect(result, replay_.table());
  return absl::OkStatus();
}

absl::Status CudaBackend::WaitFor(uint32_t epoch) {
  return InStep(epoch,
                runtime_->WaitFor(epoch % kMostOutstanding, "the device", options_.step_timeout));
}

// An error of the device, with the step in which it came.
absl::Status CudaBackend::InStep(uint32_t epoch, const absl::Status& status) const {
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat("step ", epoch, ", cut for ", cut_for_[epoch % kMostOutstanding],
                                   " rows: ", std::string(status.message())));
}

absl::Status CudaBackend::ReadRawLogits(StepResult& result) {
  if (result.logits_rows.empty()) return absl::OkStatus();
  // Copying waits for all that is queued, without an end: so this waits for it first.
  RETURN_IF_ERROR(WaitFor(last_epoch_));
  const TableSizes& sizes = state_.step.sizes;
  result.logits.resize(result.logits_rows.size() * sizes.vocab);
  const size_t first = size_t{result.epoch % kMostOutstanding} * sizes.ends * sizes.vocab;
  return InStep(result.epoch,
                runtime_->Download(result.logits.data(), state_.raw_logits, first * sizeof(float),
                                   result.logits.size() * sizeof(float)));
}

}  // namespace recurve::cuda
