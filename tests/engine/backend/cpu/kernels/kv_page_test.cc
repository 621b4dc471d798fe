// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/kernels/kv_page.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/backend/cpu/kernels/kernel_test_util.h"

namespace recurve {
namespace {

constexpr Precision kPrecisions[] = {Precision::kF32, Precision::kBf16, Precision::kInt8};

PageLayout LayoutOf(Precision precision, uint32_t head_dim) {
  PageLayout layout;
  layout.precision = precision;
  layout.head_dim = head_dim;
  return layout;
}

TEST(KvPageTest, TilesHaveRoomForAllAndNoMore) {
  const PageLayout f32 = LayoutOf(Precision::kF32, 20);
  EXPECT_EQ(f32.value_offset(), 20U * 16 * 4);
  EXPECT_EQ(f32.tile_bytes(), (20U + 32) * 16 * 4);
  EXPECT_EQ(LayoutOf(Precision::kBf16, 20).tile_bytes(), (20U + 32) * 16 * 2);
  const PageLayout int8 = LayoutOf(Precision::kInt8, 20);
  EXPECT_EQ(int8.key_scale_offset(), 20U * 16);
  EXPECT_EQ(int8.value_offset(), 20U * 16 + 64);
  EXPECT_EQ(int8.value_scale_offset(), (20U + 32) * 16 + 64);
  EXPECT_EQ(int8.tile_bytes(), (20U + 32) * 16 + 2 * 64);
}

TEST(KvPageTest, TilesOfAPageAreDisjointAndFillIt) {
  for (const Precision precision : kPrecisions) {
    for (const uint32_t head_dim : {8U, 20U, 64U}) {
      const PageLayout layout = {precision, 10, 3, head_dim};
      for (const uint32_t layers : {1U, 2U, 3U, 10U}) {
        ASSERT_EQ(layout.entries_per_page(layers), 16 * (10 / layers));
        std::set<size_t> offsets;
        for (uint32_t layer = 0; layer < layers; ++layer) {
          for (uint32_t head = 0; head < 3; ++head) {
            for (uint32_t tile = 0; tile < layout.tiles_per_page(layers); ++tile) {
              const size_t offset = layout.tile_offset(layers, layer, head, tile);
              EXPECT_EQ(offset % layout.tile_bytes(), 0U);
              EXPECT_EQ(offset % 64, 0U);
              EXPECT_LE(offset + layout.tile_bytes(), layout.page_bytes());
              EXPECT_TRUE(offsets.insert(offset).second);
            }
          }
        }
      }
    }
  }
}

// Each entry written lies where the layout says, and nowhere else.
TEST(KvPageTest, StoredNumbersAreWhereTheyBelong) {
  Random random(5);
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    for (const uint32_t dim : {2U, 20U, 64U}) {
      const PageLayout layout = LayoutOf(precision, dim);
      std::vector<std::byte> tile(layout.tile_bytes());
      const std::vector<float> keys = random.Floats(16 * dim, Range::kNormal);
      const std::vector<float> values = random.Floats(16 * dim, Range::kNormal);
      // In an order that would show a lane written over its neighbour.
      for (const uint32_t lane :
           {3U, 0U, 1U, 2U, 15U, 14U, 4U, 5U, 7U, 6U, 8U, 13U, 9U, 12U, 10U, 11U}) {
        StoreKv(layout, lane, &keys[lane * dim], &values[lane * dim], tile.data());
      }
      const size_t value_base = layout.value_offset() / ElementSize(precision);
      for (uint32_t lane = 0; lane < 16; ++lane) {
        for (uint32_t d = 0; d < dim; ++d) {
          const float key = RoundedTo(precision, keys[lane * dim + d]);
          const float value = RoundedTo(precision, values[lane * dim + d]);
          if (precision == Precision::kBf16) {
            const auto* const at = reinterpret_cast<const Bf16*>(tile.data());
            EXPECT_EQ(Bf16ToFloat(at[(d / 2 * 16 + lane) * 2 + d % 2]), key);
            const size_t pair = value_base + (lane / 2 * layout.padded_dim() + d) * 2;
            EXPECT_EQ(Bf16ToFloat(at[pair + lane % 2]), value);
          } else {
            const auto* const at = reinterpret_cast<const float*>(tile.data());
            EXPECT_EQ(at[d * 16 + lane], key);
            EXPECT_EQ(at[value_base + lane * layout.padded_dim() + d], value);
          }
        }
      }
    }
  }
}

// In all its bytes, and without touching another's.
TEST(KvPageTest, ACopiedEntryIsAsIfItHadBeenStored) {
  Random random(5);
  for (const Precision precision : kPrecisions) {
    SCOPED_TRACE(PrecisionName(precision));
    const PageLayout layout = LayoutOf(precision, 20);
    std::vector<std::byte> stored(layout.tile_bytes(), std::byte{0x55});
    std::vector<std::byte> copied = stored;
    std::vector<std::byte> source = stored;
    for (uint32_t lane = 0; lane < kTileEntries; ++lane) {
      const std::vector<float> key = random.Floats(20, Range::kNormal);
      const std::vector<float> value = random.Floats(20, Range::kNormal);
      const uint32_t from = (lane + 5) % kTileEntries;
      StoreKv(layout, lane, key.data(), value.data(), stored.data());
      StoreKv(layout, from, key.data(), value.data(), source.data());
      CopyKv(layout, source.data(), from, copied.data(), lane);
      EXPECT_EQ(stored, copied) << lane;
    }
  }
}

TEST(KvPageTest, EightBitsAreWithinHalfAScale) {
  Random random(6);
  const PageLayout layout = LayoutOf(Precision::kInt8, 64);
  std::vector<std::byte> tile(layout.tile_bytes());
  for (uint32_t lane = 0; lane < kTileEntries; ++lane) {
    const std::vector<float> key = random.Floats(64, Range::kNormal);
    std::vector<float> value = random.Floats(64, Range::kNormal);
    for (float& x : value) x *= 1000.0F;
    StoreKv(layout, lane, key.data(), value.data(), tile.data());
    const auto check = [&](const std::vector<float>& vector, size_t scale_offset, auto integer) {
      const float scale = reinterpret_cast<const float*>(tile.data() + scale_offset)[lane];
      float largest = 0.0F;
      for (uint32_t d = 0; d < 64; ++d) {
        const float q = integer(d);
        EXPECT_NEAR(q * scale, vector[d], 0.5001 * scale);
        largest = std::max(largest, std::abs(q));
      }
      EXPECT_EQ(largest, 127.0F);
    };
    const auto* const keys = reinterpret_cast<const int8_t*>(tile.data());
    const auto* const values = reinterpret_cast<const int8_t*>(tile.data() + layout.value_offset());
    check(key, layout.key_scale_offset(),
          [&](uint32_t d) { return keys[KeyIndex<int8_t>(d, lane)]; });
    check(value, layout.value_scale_offset(),
          [&](uint32_t d) { return values[ValueIndex<int8_t>(64, d, lane)]; });
  }
}

}  // namespace
}  // namespace recurve
