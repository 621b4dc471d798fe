// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/packed_model.h"

#include <memory>

#include "engine/model/weights.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/test_backends.h"

namespace recurve {
namespace {

// Each alone would lie on small pages.
TEST(PackedModel, MatricesShareHugePages) {
  const auto team = *ThreadTeam::Create(1);
  const auto model = std::make_shared<const Model>(RandomModel(TestConfig(), DataType::kF32, 5));
  const PackedModel packed = *PackModel(model, Precision::kBf16, *team);
  const auto end = [](const PackedMatrix& matrix) {
    return matrix.panel(0) + RoundUp(static_cast<uint32_t>(matrix.bytes()), 4096);
  };
  for (const PackedLayer& layer : packed.block) {
    const PackedAttention& attention = layer.attention.front();
    EXPECT_EQ(attention.o.panel(0), end(attention.qkv));
    EXPECT_EQ(layer.gate_up.panel(0), end(layer.attention.back().o));
    EXPECT_EQ(layer.down.panel(0), end(layer.gate_up));
  }
  EXPECT_EQ(packed.block[1].attention.front().qkv.panel(0), end(packed.block[0].down));
}

}  // namespace
}  // namespace recurve
