// SPDX-License-Identifier: Apache-2.0
// What the CUDA backend says of its kernels' bytes and FLOPs, against counts made by hand.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/cuda/cuda_backend.h"
#include "engine/backend/cuda/page_changes.h"
#include "engine/backend/cuda/plan_words.h"
#include "engine/backend/kernel_work.h"
#include "engine/backend/rows.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/step_driver.h"
#include "tests/engine/backend/test_backends.h"
#include "tests/simt/device_vectors.h"
#include "tests/simt/runtime_emulated.h"

namespace recurve::cuda {
namespace {

using testing::Contains;
using testing::IsSupersetOf;

// Four slots, and so few rows that the steps of the smallest cut, whose kernels are counted, have
// all: then the library may make their products.
BackendLimits LimitsOf(const ModelConfig& config) {
  BackendLimits limits = SmallLimits(config, /*max_positions=*/64);
  limits.chunk = limits.prompt_rows = limits.ends = 4;
  return limits;
}

std::unique_ptr<CudaBackend> Make(const ModelConfig& config, Precision precision = Precision::kF32,
                                  uint32_t library_rows = 0) {
  CudaBackendOptions options;
  options.limits = LimitsOf(config);
  options.precision = precision;
  options.library_rows = library_rows;
  auto model = std::make_shared<const Model>(RandomModel(config, DataType::kF32, 3));
  auto runtime = std::make_unique<EmulatedRuntime>(EmulatedOptions{.has_products = true});
  auto backend = CudaBackend::Create(std::move(model), options, std::move(runtime));
  EXPECT_TRUE(backend.ok()) << backend.status();
  return std::move(backend).value();
}

// Of the kernel `name`, which a step launches once.
WorkCount WorkOf(const Backend& backend, const std::string& name) {
  for (const KernelWork& kernel : backend.CountedKernels()) {
    if (kernel.name != name) continue;
    EXPECT_EQ(kernel.launches, 1);
    return kernel.work;
  }
  ADD_FAILURE() << "no kernel " << name;
  return {};
}

std::vector<std::string> NamesOf(const std::vector<KernelWork>& kernels) {
  std::vector<std::string> names;
  names.reserve(kernels.size());
  for (const KernelWork& kernel : kernels) names.push_back(kernel.name);
  return names;
}

// One request whose groups keep five entries after every eighth position.
absl::Status RunEvictions(Backend& backend, const ModelConfig& config) {
  DriverRequest request;
  request.prompt.assign(20, 7);
  request.new_tokens = 4;
  request.chunk = 4;
  request.evict_every = 8;
  request.keep = 5;
  request.eviction = EvictionPolicy::kAttention;
  return RunRequests(backend, config, LimitsOf(config), {request}).status();
}

TEST(KernelCountsTest, EveryKernelMovesBytes) {
  for (const RouterType router :
       {RouterType::kNone, RouterType::kExpertChoice, RouterType::kTokenChoice}) {
    for (const auto& [precision, library_rows] :
         {std::pair(Precision::kF32, 0U), {Precision::kBf16, 0U}, {Precision::kBf16, 1U}}) {
      const ModelConfig config = TestConfig(router);
      const auto backend = Make(config, precision, library_rows);
      ASSERT_EQ(RunEvictions(*backend, config), absl::OkStatus());
      const std::vector<KernelWork> kernels = backend->CountedKernels();
      EXPECT_THAT(NamesOf(kernels), IsSupersetOf({"admit", "plan_exit", "plan_block", "sample",
                                                  "router", "publish", "evict"}));
      if (library_rows > 0) {
        EXPECT_THAT(NamesOf(kernels), Contains("library_product"));
      }
      for (const KernelWork& kernel : kernels) {
        EXPECT_GT(kernel.work.Bytes(1, 1), 0) << kernel.name;
      }
    }
  }
}

// The multiply-adds of a row in all layers of a pass are the elements of their matrices.
TEST(KernelCountsTest, LayersAreTheirMatrices) {
  const ModelConfig config = TestConfig();
  const auto backend = Make(config);
  const double q = config.num_heads * config.head_dim;
  const double kv = config.num_kv_heads * config.head_dim;
  const double layer =
      config.hidden_size * (2 * q + 2 * kv) + 3.0 * config.hidden_size * config.intermediate_size;
  double block_flops = 0;
  double attention = 0;
  double heads = 0;
  for (const KernelWork& kernel : backend->CountedKernels()) {
    if (kernel.work.part == kPartBlock) block_flops += kernel.work.row_flops;
    if (kernel.name == "attention_f32") attention += kernel.launches;
    if (kernel.name == "head_f32") {
      ++heads;
      EXPECT_EQ(kernel.work.part, kPartSampling);
      EXPECT_EQ(kernel.work.weight_bytes, 4.0 * config.hidden_size * config.vocab_size);
    }
    EXPECT_NE(kernel.name, "evict") << "no step has had one";
  }
  EXPECT_EQ(block_flops, 2 * layer * config.layers_per_recursion());
  EXPECT_EQ(attention,
            config.entry_layers() + config.layers_per_recursion() + config.exit_layers());
  EXPECT_EQ(heads, 1);
}

TEST(KernelCountsTest, RowsInBf16LeaveTheirOperandToo) {
  const auto backend = Make(TestConfig(), Precision::kBf16);
  double found = 0;
  for (const KernelWork& kernel : backend->CountedKernels()) {
    if (kernel.name != "load_rows_bf16") continue;
    ++found;
    // Of 48 columns, in three tiles: a float written, a number of the operand, and squares.
    const double read = kernel.work.part == kPartEntry ? 48 * 2 : 48 * 4;
    EXPECT_EQ(kernel.work.Bytes(1, 9), read + 48 * (4 + 2) + 3 * 4) << kernel.work.part;
  }
  EXPECT_EQ(found, 3);
}

// What a row of the block moves.
double BlockRowBytes(const Backend& backend) {
  double bytes = 0;
  for (const KernelWork& kernel : backend.CountedKernels()) {
    if (kernel.work.part == kPartBlock) bytes += kernel.work.row_bytes;
  }
  return bytes;
}

TEST(KernelCountsTest, SumsOfTheLibraryAreWrittenAndReadAgain) {
  const auto ours = Make(TestConfig(), Precision::kBf16);
  const auto library = Make(TestConfig(), Precision::kBf16, /*library_rows=*/1);
  // Of a layer's four products, with their pads.
  constexpr double kInputs = 48 + 80 + 48 + 80;
  constexpr double kOutputs = 160 + 48 + 144 + 48;
  constexpr double kLayers = 2;
  EXPECT_EQ(BlockRowBytes(*library) - BlockRowBytes(*ours),
            kLayers * (2 * 2 * kInputs + 2 * 4 * kOutputs));
}

// ---- Routers ----

// What six rows of the block cost, of two tokens that take all three recursions. A vector of 48
// numbers has 192 bytes.
struct RouterCase {
  const char* name;
  RouterConfig config;
  double weights;  // of all nets
  double vectors;  // of a token, read or written
  double flops;    // of a token
};

RouterConfig ExpertChoice(RouterNetwork network, bool weighted, RouterSampling sampling) {
  RouterConfig config = TestConfig(RouterType::kExpertChoice).router;
  config.network = network;
  config.weighted = weighted;
  config.sampling = sampling;
  return config;
}

RouterConfig TokenChoice(RouterNetwork network) {
  RouterConfig config = TestConfig(RouterType::kTokenChoice).router;
  config.network = network;
  return config;
}

std::vector<RouterCase> RouterCases() {
  constexpr RouterNetwork kLinear = RouterNetwork::kLinear;
  constexpr RouterNetwork kMlp = RouterNetwork::kMlp;
  constexpr RouterSampling kLoss = RouterSampling::kAuxLoss;
  constexpr RouterSampling kAux = RouterSampling::kAuxRouter;
  // A linear net of one output has 48 weights; an mlp has 48 * 96 and, for each output, 96.
  // H + gate * x are 96 FLOPs.
  return {
      {"fixed depth", {}, 0, 3 * 2, 0},
      {"gates", ExpertChoice(kLinear, true, kLoss), 3 * 48, 3 * 3, 3 * 96 + 3 * 96},
      {"no gates", ExpertChoice(kLinear, false, kLoss), 2 * 48, 3 * 3, 2 * 96 + 3 * 96},
      {"gates, auxiliary", ExpertChoice(kLinear, true, kAux), 5 * 48, 3 * 3, 5 * 96 + 3 * 96},
      {"auxiliary alone", ExpertChoice(kLinear, false, kAux), 2 * 48, 3 * 3, 2 * 96 + 3 * 96},
      {"mlps", ExpertChoice(kMlp, true, kLoss), 3 * 4704, 3 * 3, 3 * 9408 + 3 * 96},
      // The first and the last recursion read H too.
      {"depths", TokenChoice(kLinear), 3 * 48, 3 + 2 + 3, 3 * 96 + 96},
      {"depths by an mlp", TokenChoice(kMlp), 4896, 3 + 2 + 3, 9792 + 96},
  };
}

TEST(KernelCountsTest, RoutersAreTheirNetsAndTheRowsVectors) {
  for (const RouterCase& router : RouterCases()) {
    SCOPED_TRACE(router.name);
    ModelConfig config = TestConfig(router.config.type);
    config.router = router.config;
    const WorkCount work = WorkOf(*Make(config), "router");
    EXPECT_EQ(work.part, kPartRouters);
    EXPECT_EQ(work.Bytes(0, 9), 0);
    EXPECT_DOUBLE_EQ(work.Bytes(6, 9), 4 * router.weights + 2 * 192 * router.vectors);
    EXPECT_DOUBLE_EQ(work.Flops(6, 9), 2 * router.flops);
  }
}

// The net, and the token that leaves at once, read the same H.
TEST(KernelCountsTest, ATokenOfOneRecursionReadsItsHiddenRowOnce) {
  ModelConfig config = TestConfig(RouterType::kTokenChoice);
  config.num_layers = 4;
  config.num_recursions = 1;
  const WorkCount work = WorkOf(*Make(config), "router");
  EXPECT_DOUBLE_EQ(work.Bytes(1, 9), 4 * 48 + 192 * 3);
  EXPECT_DOUBLE_EQ(work.Flops(1, 9), 96 + 96);
}

// ---- The planner ----

// Bytes.
constexpr double kHeader = 27 * 4;
constexpr double kRecord = 43 * 4;
constexpr double kOutcome = 6 * 4;
constexpr double kSelection = 9 * 4;
constexpr double kCounts = 41 * 4;
constexpr double kRow = 7 * 4;
constexpr double kVerdict = 3 * 4;
constexpr double kStamp = 8;
constexpr double kResultHeader = 6 * 4 + 6 * kStamp + 4 * 4;

TEST(KernelCountsTest, ThePlannerGoesThroughAllSlots) {
  const auto backend = Make(TestConfig());
  const WorkCount admit = WorkOf(*backend, "admit");
  EXPECT_EQ(admit.Bytes(0, 0), kHeader + kStamp);
  EXPECT_EQ(admit.Bytes(5, 9), kHeader + kStamp);
  // Four slots, and a number of each in every list of slots.
  EXPECT_EQ(WorkOf(*backend, "plan_exit").Bytes(0, 0),
            kHeader + kCounts + 2 * kSelection + 4 * (kRecord + kOutcome + 4));
  EXPECT_EQ(
      WorkOf(*backend, "plan_block").Bytes(0, 0),
      kHeader + 2 * kCounts + 2 * kSelection + kStamp + 4 * (2 * kRecord + 2 * kOutcome + 3 * 4));
  EXPECT_EQ(
      WorkOf(*backend, "publish").Bytes(0, 0),
      kHeader + kCounts + 5 * kStamp + kResultHeader + 4 * (2 * kRecord + 3 * kOutcome + 2 * 4));
}

// A step that two tokens leave, two others enter, and that has two rows at each of the three
// recursions.
TEST(KernelCountsTest, ThePlannerListsTheRowsOfAStep) {
  const auto rows_of = [](const Backend& backend, const std::string& name, double rows) {
    const WorkCount work = WorkOf(backend, name);
    return work.Bytes(rows, 9) - work.Bytes(0, 0);
  };
  const auto backend = Make(TestConfig());
  EXPECT_DOUBLE_EQ(rows_of(*backend, "plan_exit", 2), 2 * kRow);
  constexpr double kListed = 2 * (kVerdict + kRow + 4 + 4 + 4) +  // EXIT
                             2 * (kRow + 4 + 4) +                 // ENTRY
                             6 * (kRow + 4);                      // the block
  EXPECT_DOUBLE_EQ(rows_of(*backend, "plan_block", 6), kListed + 4 * 12)
      << "router scores of the second and third recursion";
  EXPECT_DOUBLE_EQ(rows_of(*backend, "publish", 6), 2 * (4 + 4) + 6 * (kRow + 4 + 8 + 8));
  const auto shared = Make(TestConfig(RouterType::kExpertChoice, KvMode::kShared));
  EXPECT_DOUBLE_EQ(rows_of(*shared, "plan_block", 6), kListed)
      << "the first recursion alone has entries";
  const auto fixed = Make(TestConfig(RouterType::kNone));
  EXPECT_DOUBLE_EQ(rows_of(*fixed, "plan_block", 6), kListed + 4 * 8) << "scores are 0";
}

// ---- Changes of pages ----

TEST(KernelCountsTest, ChangesOfPagesAreThoseOfThePlan) {
  EmulatedRuntime runtime;
  KvLayout layout;
  layout.kv_heads = 2;
  layout.stride = 3;  // words
  layout.page_capacity = 4;
  layout.page_elements = 48;
  layout.layers[0] = 1;
  layout.layers[1] = 2;
  // The device finds no change in its plan.
  const std::vector<uint32_t> words(kPlanHeaderWords);
  const simt::In<uint32_t> plan(Uploaded(runtime, "plan", words), 0, words.size());
  std::vector<KernelWork> kernels;
  runtime.CountLaunches(&kernels);
  EvictArgs evict_args;
  evict_args.layout = layout;
  evict_args.plan = plan;
  const std::vector<Evict> evicts = {{.slot = 0, .group = 1, .count = 10, .keep = 6},
                                     {.slot = 1, .group = 0, .count = 5, .keep = 2}};
  ASSERT_EQ(LaunchEvict(runtime, evict_args, evicts), absl::OkStatus());
  ASSERT_EQ(LaunchCopyPages(runtime, {layout, plan, {}}, 3), absl::OkStatus());
  ASSERT_EQ(kernels.size(), 2U);
  // Ten entries are looked at, four leave, and as many move: eight vectors of three words.
  constexpr double kFirst = 10 * (4 + 8) + 4 * 8 + 4 * (4 + 2 * (4 + 8 + 8 * 12));
  // Three leave, and only two are left to move: four vectors.
  constexpr double kSecond = 5 * (4 + 8) + 3 * 8 + 2 * (4 + 2 * (4 + 8 + 4 * 12));
  EXPECT_EQ(kernels[0].name, "evict");
  EXPECT_EQ(kernels[0].work.Bytes(0, 0), kFirst + kSecond);
  EXPECT_EQ(kernels[1].name, "copy_pages");
  EXPECT_EQ(kernels[1].work.Bytes(0, 0), 3 * 2 * (48 * 4 + 4 * (4 + 4)));
  for (const KernelWork& kernel : kernels) EXPECT_EQ(kernel.work.Flops(9, 9), 0);
}

// Notes the changes of pages of the plans that it passes on.
class NotingBackend final : public Backend {
 public:
  explicit NotingBackend(Backend& backend) : backend_(backend) {}
  absl::Status Submit(const StepPlan& plan) override {
    ++steps;
    if (!plan.evicts.empty()) ++evicting_steps;
    return backend_.Submit(plan);
  }
  absl::Status Collect(StepResult& result) override { return backend_.Collect(result); }
  uint32_t Outstanding() const override { return backend_.Outstanding(); }

  double steps = 0;
  double evicting_steps = 0;

 private:
  Backend& backend_;
};

TEST(KernelCountsTest, ChangesOfPagesAreMeansOfTheSteps) {
  const ModelConfig config = TestConfig();
  const auto backend = Make(config);
  NotingBackend noting(*backend);
  ASSERT_EQ(RunEvictions(noting, config), absl::OkStatus());
  ASSERT_GT(noting.evicting_steps, 1);
  ASSERT_LT(noting.evicting_steps, noting.steps);
  const KernelWork evict = backend->CountedKernels().back();
  EXPECT_EQ(evict.name, "evict");
  EXPECT_DOUBLE_EQ(evict.launches, noting.evicting_steps / noting.steps);
}

}  // namespace
}  // namespace recurve::cuda
