// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/precision.h"

#include "gtest/gtest.h"

namespace recurve {
namespace {

TEST(PrecisionTest, NamesAreReadBack) {
  for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    EXPECT_EQ(ParsePrecision(PrecisionName(precision)), precision);
  }
  for (const char* name : {"", "F32", "bf", "bf16 ", "int"}) {
    EXPECT_EQ(ParsePrecision(name), std::nullopt) << name;
  }
}

TEST(PrecisionTest, KeysAndValuesFollowTheWeightsUnlessSomebodySaysMore) {
  EXPECT_EQ(ParseKvPrecision("auto", Precision::kF32), Precision::kF32);
  EXPECT_EQ(ParseKvPrecision("auto", Precision::kBf16), Precision::kBf16);
  EXPECT_EQ(ParseKvPrecision("auto", Precision::kInt8), Precision::kBf16);
  for (const Precision weights : {Precision::kF32, Precision::kBf16}) {
    for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
      EXPECT_EQ(ParseKvPrecision(PrecisionName(precision), weights), precision);
    }
    for (const char* name : {"", "Int8", "fp8"}) {
      EXPECT_EQ(ParseKvPrecision(name, weights), std::nullopt) << name;
    }
  }
}

TEST(PrecisionTest, ElementSizes) {
  EXPECT_EQ(ElementSize(Precision::kF32), 4U);
  EXPECT_EQ(ElementSize(Precision::kBf16), 2U);
  EXPECT_EQ(ElementSize(Precision::kInt8), 1U);
}

TEST(PrecisionTest, KeysAndValuesBesideInt8AreBf16) {
  EXPECT_EQ(AutoKvPrecision(Precision::kF32), Precision::kF32);
  EXPECT_EQ(AutoKvPrecision(Precision::kBf16), Precision::kBf16);
  EXPECT_EQ(AutoKvPrecision(Precision::kInt8), Precision::kBf16);
}

}  // namespace
}  // namespace recurve
