// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/factory/make_backend.h"

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "engine/base/machine.h"
#include "gtest/gtest.h"
#include "tests/engine/small_models.h"

namespace recurve {
namespace {

BackendFacts Describe(const Model& model, const BackendOptions& options) {
  return (*OpenBackend(options))->Describe(model);
}

absl::Status OpenNamed(const char* name) {
  BackendOptions options;
  options.name = name;
  return OpenBackend(options).status();
}

TEST(OpenBackendTest, KnowsTheNamesThatItLists) {
  EXPECT_TRUE(OpenNamed("cpu").ok());
  EXPECT_TRUE(OpenNamed("null").ok());
  for (const char* name : {"", "rocm", "CPU"}) {
    EXPECT_EQ(OpenNamed(name),
              absl::InvalidArgumentError(
                  absl::StrCat("--backend is '", name, "'; this version has cpu, cuda and null")));
  }
}

TEST(OpenBackendTest, SaysWhatToDoAboutABackendThatTheBuildLacks) {
  if (RECURVE_HAS_CUDA != 0) GTEST_SKIP() << "this build has it";
  EXPECT_EQ(OpenNamed("cuda"), absl::FailedPreconditionError(
                                   "--backend is 'cuda', which this build does not have; build "
                                   "with `cmake --preset cuda`, or use --backend=cpu"));
}

TEST(OpenBackendTest, RefusesOptionsOfAnotherBackend) {
  const auto refused = [](const BackendOptions& options) {
    return std::string(OpenBackend(options).status().message());
  };
  EXPECT_EQ(refused({.device = 2}),
            "--device is 2, which is of --backend=cuda alone; leave it out with --backend=cpu");
  EXPECT_EQ(refused({.eager = true}),
            "--cuda_eager is true, which is of --backend=cuda alone; leave it out with "
            "--backend=cpu");
  EXPECT_EQ(refused({.overlap = false}),
            "--cuda_overlap is false, which is of --backend=cuda alone; leave it out with "
            "--backend=cpu");
  EXPECT_EQ(refused({.deterministic = false}),
            "--deterministic is false, which is of --backend=cuda alone; leave it out with "
            "--backend=cpu");
  EXPECT_EQ(refused({.name = "cuda", .precision = Precision::kF32, .deterministic = false}),
            "--deterministic is false, which is of --precision=bf16 alone; leave it out with f32");
  EXPECT_EQ(refused({.name = "cuda", .precision = Precision::kInt8}),
            "--precision is int8, which is of --backend=cpu alone; use bf16 or f32 with "
            "--backend=cuda");
  EXPECT_EQ(refused({.name = "cuda", .threads = 3}),
            "--threads is 3, which is of --backend=cpu alone; leave it out with --backend=cuda");
  EXPECT_EQ(refused({.name = "cuda", .isa = "scalar"}),
            "--isa is scalar, which is of --backend=cpu alone; leave it out with "
            "--backend=cuda");
  EXPECT_EQ(refused({.name = "null", .threads = 1}),
            "--threads is 1, which is of --backend=cpu alone; leave it out with --backend=null");
  EXPECT_EQ(refused({.name = "null", .device = 1}),
            "--device is 1, which is of --backend=cuda alone; leave it out with --backend=null");
}

TEST(OpenBackendTest, RefusesAPrecisionOfTheCacheThatTheBackendLacks) {
  const auto refused = [](const char* name, Precision precision, Precision kv_precision) {
    return std::string(
        OpenBackend({.name = name, .precision = precision, .kv_precision = kv_precision})
            .status()
            .message());
  };
  EXPECT_EQ(refused("cuda", Precision::kBf16, Precision::kInt8),
            "--kv_precision is int8; --backend=cuda with --precision=bf16 has bf16 alone");
  EXPECT_EQ(refused("cuda", Precision::kF32, Precision::kBf16),
            "--kv_precision is bf16; --backend=cuda with --precision=f32 has f32 alone");
  EXPECT_EQ(refused("null", Precision::kBf16, Precision::kBf16),
            "--kv_precision is bf16; --backend=null keeps no keys and values; leave it out");
  // What it has passes, to whatever this machine says of it.
  EXPECT_EQ(refused("cuda", Precision::kF32, Precision::kF32),
            OpenBackend({.name = "cuda", .precision = Precision::kF32}).status().message());
  for (const Precision kv_precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    EXPECT_EQ(refused("cpu", Precision::kBf16, kv_precision), "");
  }
}

TEST(OpenBackendTest, AnInstructionSetIsOneThatTheMachineHas) {
  const std::shared_ptr<const Model> model = SmallModels()[3].model;
  std::string fastest;
  for (const char* isa : {"scalar", "neon", "avx2", "avx512", "amx"}) {
    const auto builder = OpenBackend({.isa = isa});
    if (builder.ok()) {
      fastest = isa;
      EXPECT_EQ((*builder)->Describe(*model).device, isa);
    } else {
      EXPECT_TRUE(absl::IsFailedPrecondition(builder.status())) << builder.status();
    }
  }
  EXPECT_EQ(Describe(*model, {}).device, fastest);
  EXPECT_EQ(OpenBackend({.isa = "sse"}).status(),
            absl::InvalidArgumentError(
                "--isa is 'sse'; this version has auto, scalar, neon, avx2, avx512, amx"));
}

TEST(OpenBackendTest, DescribesWhatItMakes) {
  const std::shared_ptr<const Model> model = SmallModels()[3].model;
  BackendOptions options;
  BackendFacts facts = Describe(*model, options);
  EXPECT_EQ(facts.name, options.name);
  EXPECT_EQ(facts.threads, UsableThreads());
  EXPECT_EQ(facts.queue_depth, 0U);
  EXPECT_EQ(facts.memory_share, 0.5);
  const uint64_t of_bf16 = facts.page_bytes;
  options.threads = 3;
  options.isa = "scalar";
  options.precision = Precision::kF32;
  facts = Describe(*model, options);
  EXPECT_EQ(facts.threads, 3U);
  EXPECT_EQ(facts.device, "scalar");
  EXPECT_GT(facts.page_bytes, of_bf16);
  EXPECT_LT(facts.page_bytes, 2 * of_bf16);
  options.precision = Precision::kInt8;
  EXPECT_EQ(Describe(*model, options).page_bytes, of_bf16);
  options.kv_precision = Precision::kBf16;
  EXPECT_EQ(Describe(*model, options).page_bytes, of_bf16);
  options.kv_precision = Precision::kInt8;
  EXPECT_LT(Describe(*model, options).page_bytes, of_bf16);
}

TEST(OpenBackendTest, PagesMayHaveWhatWeightsLeave) {
  const std::shared_ptr<const Model> model = SmallModels()[3].model;
  const auto builder = OpenBackend({});
  ASSERT_TRUE(builder.ok()) << builder.status();
  BackendLimits limits;
  limits.FillIn();
  limits.max_positions = model->config.max_positions;
  limits.pages = 0;  // not known yet
  const auto free = (*builder)->Prepare(model, limits);
  ASSERT_TRUE(free.ok()) << free.status();
  EXPECT_GT(*free, 0U);
  const auto backend = (*builder)->Make(7);
  ASSERT_TRUE(backend.ok()) << backend.status();
}

TEST(MakeBackendTest, MostSlotsAreThoseThatItSays) {
  const std::shared_ptr<const Model> model = SmallModels()[3].model;
  const BackendOptions options;
  BackendLimits limits;
  limits.FillIn();
  limits.max_positions = model->config.max_positions;
  const auto backend = MakeBackend(model, options, limits);
  ASSERT_TRUE(backend.ok()) << backend.status();
  EXPECT_EQ((*backend)->Outstanding(), 0U);
  limits.slots = Describe(*model, options).max_slots + 1;
  EXPECT_EQ(MakeBackend(model, options, limits).status(),
            absl::InvalidArgumentError("slots: found 16777217, expected at most 16777216"));
}

}  // namespace
}  // namespace recurve
