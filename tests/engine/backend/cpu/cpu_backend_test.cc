// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/cpu_backend.h"

#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "engine/backend/arithmetic.h"
#include "engine/model/weights.h"
#include "tests/engine/backend/test_backends.h"

namespace recurve {
namespace {

using ::testing::HasSubstr;

TEST(CpuBackend, CreateNamesLimitsThatContradict) {
  const ModelConfig config = TestConfig();
  const auto model = std::make_shared<const Model>(RandomModel(config, DataType::kF32, 5));
  CpuBackendOptions options;
  options.limits.FillIn();
  options.limits.max_positions = 64;
  options.limits.prompt_rows = 7;
  EXPECT_THAT(std::string(CpuBackend::Create(model, options).status().message()),
              HasSubstr("prompt_rows: found 7, expected at least chunk = 256"));
  options.limits.areas = options.limits.chunk = options.limits.prompt_rows = 65'536;
  EXPECT_THAT(std::string(CpuBackend::Create(model, options).status().message()),
              HasSubstr("expected at most 16777216 rows of areas and slots"));
  for (const uint32_t threads : {0U, 4097U}) {
    options.limits = {};
    options.limits.FillIn();
    options.limits.max_positions = 64;
    options.threads = threads;
    EXPECT_EQ(CpuBackend::Create(model, options).status(),
              absl::InvalidArgumentError(
                  absl::StrCat("threads: found ", threads, ", expected 1 to 4096")));
  }
}

// Beyond that sums of whole numbers could overflow.
TEST(CpuBackend, Int8HasRoomForSoManyInputs) {
  CpuBackendOptions options;
  options.precision = Precision::kInt8;
  options.limits.FillIn();
  options.limits.max_positions = 64;
  Model model = RandomModel(TestConfig(), DataType::kF32, 5);
  model.config.intermediate_size = kMaxInt8Inputs + 1;  // whatever the weights are
  EXPECT_EQ(CpuBackend::Create(std::make_shared<const Model>(model), options).status(),
            absl::InvalidArgumentError(
                "--precision is int8, whose products have at most 131072 inputs; the model's "
                "intermediate_size is 131073"));
}

TEST(CpuBackend, PageBytesAreKnownBeforehand) {
  const ModelConfig config = TestConfig();  // two layers a recursion, two KV heads of 12 dimensions
  EXPECT_EQ(CpuPageBytes(config, Precision::kF32), 2U * 2 * 16 * (12 + 16) * 4 + 32 * (4 + 4));
  EXPECT_EQ(CpuPageBytes(config, Precision::kBf16), 2U * 2 * 16 * (12 + 16) * 2 + 32 * (4 + 4));
  EXPECT_EQ(CpuPageBytes(config, Precision::kInt8), 2U * 2 * 16 * (12 + 4 + 16 + 4) + 32 * (4 + 4));
}

}  // namespace
}  // namespace recurve
