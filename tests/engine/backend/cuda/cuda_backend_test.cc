// SPDX-License-Identifier: Apache-2.0
// The CUDA backend on an emulated device: what is its own, beside what all backends are tested for.
#include "engine/backend/cuda/cuda_backend.h"

#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/factory/make_backend.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/step_driver.h"
#include "tests/engine/backend/test_backends.h"
#include "tests/engine/backend/twin_backend.h"
#include "tests/simt/runtime_emulated.h"

namespace recurve::cuda {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;

std::shared_ptr<const Model> MakeModel(RouterType router = RouterType::kExpertChoice) {
  return std::make_shared<const Model>(RandomModel(TestConfig(router), DataType::kF32, 3));
}

constexpr uint32_t kMaxPositions = 64;

// Requests that use everything that a request can ask of a backend.
std::vector<DriverRequest> MixedRequests() {
  std::mt19937 random(7);
  const auto below = [&random](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  std::vector<DriverRequest> requests(7);
  for (uint32_t i = 0; i < requests.size(); ++i) {
    DriverRequest& request = requests[i];
    for (uint32_t j = 0; j < 2 + 5 * i; ++j) request.prompt.push_back(below(150));
    request.new_tokens = 6;
    if (i % 2 == 1) {
      request.sampling.temperature = 0.7F + 0.2F * static_cast<float>(i);
      request.sampling.set_seed(i);
    }
    if (i % 3 == 1) request.sampling.top_k = 12;
    if (i % 3 == 2) request.sampling.top_p = 0.8F;
    if (i % 4 == 3) request.sampling.min_p = 0.05F;
    if (i % 2 == 0) request.sampling.repetition_penalty = 1.3F;
    if (i % 5 == 1) request.sampling.frequency_penalty = 0.4F;
    if (i % 3 == 0) request.logprobs = i % 6;
    if (i == 3) request.wants = kWantsPromptLogprobs | kWantsRawLogits;
    if (i == 4) request.cap = 2;
    if (i == 5) request.threshold_logit = 0.3F;
    if (i == 6) request.biases = {{5, 3.0F}, {9, -2.0F}, {5, 1.5F}};
  }
  return requests;
}

struct Made {
  std::unique_ptr<CudaBackend> backend;
  EmulatedRuntime* runtime;  // the backend's
};
Made Make(std::shared_ptr<const Model> model, const EmulatedOptions& emulated = {},
          bool eager = false,
          std::chrono::milliseconds step_timeout = std::chrono::milliseconds(50)) {
  CudaBackendOptions options;
  options.limits = SmallLimits(model->config, kMaxPositions);
  options.precision = Precision::kF32;
  options.eager = eager;
  options.step_timeout = step_timeout;
  auto runtime = std::make_unique<EmulatedRuntime>(emulated);
  EmulatedRuntime* const seen = runtime.get();
  auto backend = CudaBackend::Create(std::move(model), options, std::move(runtime));
  EXPECT_TRUE(backend.ok()) << backend.status();
  return {backend.ok() ? std::move(backend).value() : nullptr, seen};
}

// The requests on this device, each step compared with the CPU's.
void ExpectCpuResults(const std::shared_ptr<const Model>& model, const EmulatedOptions& emulated,
                      bool eager, const DriverOptions& driver) {
  const BackendLimits limits = SmallLimits(model->config, kMaxPositions);
  BackendOptions cpu;
  cpu.precision = Precision::kF32;
  cpu.threads = 1;
  // A busy machine may take long for a step that does not hang.
  Made made = Make(model, emulated, eager, std::chrono::minutes(5));
  ASSERT_NE(made.backend, nullptr);
  auto oracle = MakeBackend(model, cpu, limits);
  ASSERT_TRUE(oracle.ok()) << oracle.status();
  const ModelConfig config = model->config;
  TwinBackend twin(std::move(made.backend), std::move(*oracle));
  const auto outputs = RunRequests(twin, config, limits, MixedRequests(), driver);
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ(outputs->size(), MixedRequests().size());
}

TEST(CudaBackendTest, LargerHeadsAreRefusedInBf16) {
  ModelConfig config = TestConfig();
  config.head_dim = 130;
  const auto model = std::make_shared<const Model>(RandomModel(config, DataType::kF32, 3));
  CudaBackendOptions options;
  options.limits = SmallLimits(config, kMaxPositions);
  const auto create = [&] {
    return CudaBackend::Create(model, options, std::make_unique<EmulatedRuntime>()).status();
  };
  EXPECT_EQ(create(), absl::InvalidArgumentError(
                          "head_dim is 130; in bf16 the backend cuda has heads of at most 128: use "
                          "--precision=f32 or --backend=cpu"));
  options.precision = Precision::kF32;
  EXPECT_EQ(create(), absl::OkStatus());
}

TEST(CudaBackendTest, ResultsAreTheCpus) {
  for (const RouterType router :
       {RouterType::kNone, RouterType::kExpertChoice, RouterType::kTokenChoice}) {
    SCOPED_TRACE(static_cast<int>(router));
    ExpectCpuResults(MakeModel(router), {}, /*eager=*/false, {.depth = 1});
  }
}

TEST(CudaBackendTest, NothingOfTheDeviceMatters) {
  const std::shared_ptr<const Model> model = MakeModel();
  EmulatedOptions many;
  many.facts.multiprocessors = 5;
  many.seed = 11;
  ExpectCpuResults(model, many, /*eager=*/true, {.depth = 0});
  EmulatedOptions late;
  late.seed = 12;
  late.facts.multiprocessors = 1;
  late.execution = Execution::kWhenWaitedFor;
  late.late_polls = 3;
  ExpectCpuResults(model, late, /*eager=*/false, {.ends_min = 4, .depth = 1, .room_step = 5});
}

TEST(CudaBackendTest, StepsAreReplaysOfGraphs) {
  Made made = Make(MakeModel());
  const auto launches = made.runtime->Calls(EmulatedRuntime::Call::kLaunch);
  const ModelConfig config = TestConfig();
  const auto outputs =
      RunRequests(*made.backend, config, SmallLimits(config, kMaxPositions), MixedRequests());
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ(made.runtime->Calls(EmulatedRuntime::Call::kLaunch), launches)
      << "but for plans with evictions and copies, which the driver has not";
  EXPECT_GT(made.runtime->Calls(EmulatedRuntime::Call::kReplay), 10U);
  EXPECT_THAT(made.runtime->reports(), IsEmpty());
}

TEST(CudaBackendTest, NothingIsAllocatedOnceItIsMade) {
  Made made = Make(MakeModel());
  const auto allocations = made.runtime->Calls(EmulatedRuntime::Call::kAllocate);
  const ModelConfig config = TestConfig();
  ASSERT_TRUE(
      RunRequests(*made.backend, config, SmallLimits(config, kMaxPositions), MixedRequests()).ok());
  EXPECT_EQ(made.runtime->Calls(EmulatedRuntime::Call::kAllocate), allocations);
}

TEST(CudaBackendTest, MemoryThatDoesNotSufficeIsNamed) {
  const std::shared_ptr<const Model> model = MakeModel();
  CudaBackendOptions options;
  options.limits = SmallLimits(model->config, kMaxPositions);
  EmulatedOptions small;
  small.facts.bytes = 1 << 20;
  const absl::Status refused =
      CudaBackend::Create(model, options, std::make_unique<EmulatedRuntime>(small)).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), AllOf(HasSubstr("bytes"), HasSubstr("free")));
}

// Runs until a call fails; what it said.
absl::Status RunUntilError(Backend& backend) {
  const ModelConfig config = TestConfig();
  return RunRequests(backend, config, SmallLimits(config, kMaxPositions), MixedRequests()).status();
}

// The backend as it asks most of a device, which may fail while it is made.
absl::Status MakeOn(std::unique_ptr<EmulatedRuntime> runtime) {
  CudaBackendOptions options;
  const std::shared_ptr<const Model> model = MakeModel();
  options.limits = SmallLimits(model->config, kMaxPositions);
  options.library_rows = 1;
  return CudaBackend::Create(model, options, std::move(runtime)).status();
}

// How often each call is made.
class CountingRuntime final : public EmulatedRuntime {
 public:
  explicit CountingRuntime(std::vector<uint64_t>* counts) : counts_(counts) {}
  ~CountingRuntime() override {
    for (size_t i = 0; i < kCalls; ++i) counts_->push_back(Calls(static_cast<Call>(i)));
  }

 private:
  std::vector<uint64_t>* counts_;
};

TEST(CudaBackendTest, ErrorsWhileItIsMadeAreTold) {
  using Call = EmulatedRuntime::Call;
  std::vector<uint64_t> counts;
  ASSERT_EQ(MakeOn(std::make_unique<CountingRuntime>(&counts)), absl::OkStatus());
  for (const Call call : {Call::kAllocate, Call::kAllocateMapped, Call::kClear, Call::kUpload,
                          Call::kCopy, Call::kLaunch, Call::kMultiply, Call::kBeginGraph,
                          Call::kEndGraph, Call::kMark, Call::kReached}) {
    const uint64_t count = counts[static_cast<size_t>(call)];
    ASSERT_GT(count, 0U) << static_cast<int>(call);
    for (const uint64_t nth : {uint64_t{1}, (count + 1) / 2, count}) {
      auto runtime = std::make_unique<EmulatedRuntime>();
      runtime->FailAt(call, nth, absl::UnavailableError("cudaErrorECCUncorrectable"));
      EXPECT_EQ(MakeOn(std::move(runtime)), absl::UnavailableError("cudaErrorECCUncorrectable"))
          << "call " << static_cast<int>(call) << ", time " << nth;
    }
  }
}

TEST(CudaBackendTest, ErrorsOfTheDeviceAreFinal) {
  using Call = EmulatedRuntime::Call;
  for (const Call call : {Call::kCopy, Call::kReplay, Call::kLaunch, Call::kMark, Call::kReached}) {
    // Graphs launch nothing.
    Made made = Make(MakeModel(), {}, /*eager=*/call == Call::kLaunch);
    made.runtime->FailAt(call, 3, absl::UnavailableError("cudaErrorIllegalAddress"));
    const absl::Status failed = RunUntilError(*made.backend);
    EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(failed.message()),
                MatchesRegex("step [123], cut for 16 rows: cudaErrorIllegalAddress"));
    EXPECT_EQ(made.backend->Submit(StepPlan()), failed) << "it stays broken";
  }
}

TEST(CudaBackendTest, RawLogitsThatCannotBeReadAreAnError) {
  Made made = Make(MakeModel());
  made.runtime->FailAt(EmulatedRuntime::Call::kDownload, 1,
                       absl::UnavailableError("cudaMemcpyAsync from the device: cudaErrorUnknown"));
  const absl::Status failed = RunUntilError(*made.backend);
  EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(failed.message()),
              MatchesRegex("step [0-9]+, cut for 16 rows: cudaMemcpyAsync from the device: "
                           "cudaErrorUnknown"));
  EXPECT_EQ(made.backend->Submit(StepPlan()), failed);
}

TEST(CudaBackendTest, ADeviceThatHangsIsWaitedForOnlySoLong) {
  EmulatedOptions emulated;
  Made made = Make(MakeModel(), emulated);
  made.runtime->SetExecution(Execution::kNever);
  EXPECT_EQ(
      RunUntilError(*made.backend),
      absl::UnavailableError(
          "step 1, cut for 16 rows: the device has not come back after 50 ms (step_timeout)"));
}

// The device hangs from a step on, which is submitted before the one before it is collected.
class HangingBackend final : public Backend {
 public:
  HangingBackend(Made made, uint32_t step) : made_(std::move(made)), step_(step) {}
  absl::Status Submit(const StepPlan& plan) override {
    if (plan.epoch == step_) made_.runtime->SetExecution(Execution::kNever);
    return made_.backend->Submit(plan);
  }
  absl::Status Collect(StepResult& result) override { return made_.backend->Collect(result); }
  uint32_t Outstanding() const override { return made_.backend->Outstanding(); }

 private:
  const Made made_;
  const uint32_t step_;
};

TEST(CudaBackendTest, RawLogitsDoNotWaitForAHangingStepBehindThem) {
  const ModelConfig config = TestConfig();
  std::vector<DriverRequest> requests = MixedRequests();
  for (DriverRequest& request : requests) request.wants = kWantsRawLogits;
  for (uint32_t step = 2; step < 8; ++step) {
    HangingBackend backend(Make(MakeModel()), step);
    const absl::Status failed =
        RunRequests(backend, config, SmallLimits(config, kMaxPositions), requests, {.depth = 1})
            .status();
    EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(failed.message()), HasSubstr("has not come back after 50 ms"));
  }
}

TEST(CudaBackendTest, EagerStepsNameTheKernelThatFails) {
  Made made = Make(MakeModel(), {}, /*eager=*/true);
  made.runtime->FailAt(EmulatedRuntime::Call::kReached, 2,
                       absl::UnavailableError("cudaErrorIllegalAddress"));
  EXPECT_EQ(RunUntilError(*made.backend),
            absl::UnavailableError(
                "step 1, cut for 16 rows: after the launch of plan_exit: cudaErrorIllegalAddress"));
  made = Make(MakeModel(), {}, /*eager=*/true);
  made.runtime->SetExecution(Execution::kNever);
  EXPECT_EQ(RunUntilError(*made.backend),
            absl::UnavailableError(
                "step 1, cut for 16 rows: after the launch of admit: admit has not come back "
                "after 50 ms (step_timeout)"));
}

TEST(CudaBackendTest, APlanThatContradictsItselfIsRefused) {
  Made made = Make(MakeModel());
  StepPlan plan;
  plan.epoch = 1;
  plan.rooms.push_back({9, 3});
  EXPECT_EQ(made.backend->Submit(plan),
            absl::InternalError("plan: a room names slot 9, expected less than 4"));
  // What depends on a slot's state is found when the step's result is there.
  made = Make(MakeModel());
  plan.rooms = {{2, 200}};
  ASSERT_TRUE(made.backend->Submit(plan).ok());
  StepResult result;
  EXPECT_EQ(made.backend->Collect(result),
            absl::InternalError("plan: room of slot 2 is 200, expected 0 to less than 64"));
  EXPECT_THAT(made.runtime->reports(), IsEmpty());
}

}  // namespace
}  // namespace recurve::cuda
