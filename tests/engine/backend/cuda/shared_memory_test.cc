// SPDX-License-Identifier: Apache-2.0
// The shared memory of the kernels on tensor cores, beside their registers in kernels_sm_90a.txt,
// from which code_test.py knows how many blocks run side by side.
#include <fstream>
#include <map>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/backend/cuda/attention_block.h"
#include "engine/backend/cuda/product_bf16.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve::cuda {
namespace {

// Of a block, by how the kernels' names begin.
std::map<std::string, size_t> SharedBytes() {
  return {
      {"AttentionBf16Kernel<2>", BlockAttention<2>::SharedBytes()},
      {"AttentionBf16Kernel<4>", BlockAttention<4>::SharedBytes()},
      {"AttentionBf16Kernel<6>", BlockAttention<6>::SharedBytes()},
      {"AttentionBf16Kernel<8>", BlockAttention<8>::SharedBytes()},
      {"ProductKernel<1, 1,", ProductSharedBytes<1, 1>()},
      {"ProductKernel<1, 2,", ProductSharedBytes<1, 2>()},
      {"ProductKernel<1, 4,", ProductSharedBytes<1, 4>()},
      {"ProductKernel<1, 8,", ProductSharedBytes<1, 8>()},
      {"ProductKernel<2, 1,", ProductSharedBytes<2, 1>()},
      {"ProductKernel<2, 2,", ProductSharedBytes<2, 2>()},
      {"ProductKernel<2, 4,", ProductSharedBytes<2, 4>()},
      {"ProductKernel<2, 8,", ProductSharedBytes<2, 8>()},
  };
}

TEST(SharedMemoryTest, IsAsTheTableSays) {
  std::map<std::string, int> lines;
  std::ifstream table(RECURVE_KERNEL_TABLE);
  for (std::string line; std::getline(table, line);) {
    for (const auto& [name, bytes] : SharedBytes()) {
      if (!absl::StartsWith(line, name)) continue;
      ++lines[name];
      EXPECT_THAT(line, testing::HasSubstr(absl::StrCat(" ", bytes, " bytes of shared memory, ")));
    }
  }
  for (const auto& [name, bytes] : SharedBytes()) EXPECT_GT(lines[name], 0) << name;
}

}  // namespace
}  // namespace recurve::cuda
