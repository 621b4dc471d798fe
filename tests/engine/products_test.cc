// SPDX-License-Identifier: Apache-2.0
#include "engine/bench/products.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/bench/shapes.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

// A machine that reads 1000 bytes and computes 4000 FLOPs a second, in its second round half of
// both, and reaches half of the bound, in its third round a quarter.
class FakeProbe final : public MachineProbe {
 public:
  MachineRates Measure() override {
    ++round_;
    return round_ == 2 ? MachineRates{500, 2000} : MachineRates{1000, 4000};
  }
  absl::Status Load(const ProductShape& shape, uint32_t most_rows) override {
    if (shape.outputs == 0) return absl::ResourceExhaustedError("no memory");
    shape_ = shape;
    most_rows_ = most_rows;
    return absl::OkStatus();
  }
  uint64_t matrix_bytes() const override { return uint64_t{2} * shape_.outputs * shape_.inputs; }
  uint64_t all_bytes() const override { return 10 * matrix_bytes(); }
  double Time(uint32_t rows) override {
    EXPECT_LE(rows, most_rows_);
    ++times_[rows];
    const double slower = round_ == 2 ? 2 : 1;
    const double flops = 2.0 * rows * shape_.outputs * shape_.inputs;
    const double least =
        slower * std::max(static_cast<double>(matrix_bytes()) / 1000, flops / 4000);
    return round_ == 3 ? 4 * least : 2 * least;
  }
  absl::StatusOr<std::vector<AttentionFigures>> MeasureAttention(const ModelConfig& /*config*/,
                                                                 Precision /*kv_precision*/,
                                                                 uint32_t /*rounds*/,
                                                                 uint64_t /*seed*/) override {
    return absl::UnimplementedError("of no products");
  }

  std::map<uint32_t, int> times_;

 private:
  int round_ = 0;
  ProductShape shape_;
  uint32_t most_rows_ = 0;
};

TEST(ProductsTest, AreThoseOfTheModel) {
  const ModelConfig config = *ShapeConfig("135m", 1, 0);
  using Sizes = std::vector<std::pair<uint32_t, uint32_t>>;
  Sizes sizes;
  double layer_weights = 0;
  for (const NamedProduct& product : ProductsOf(config)) {
    sizes.emplace_back(product.shape.outputs, product.shape.inputs);
    if (product.name != "head") layer_weights += 1.0 * product.shape.outputs * product.shape.inputs;
  }
  EXPECT_EQ(sizes, (Sizes{{960, 576}, {576, 576}, {3072, 576}, {576, 1536}, {49152, 576}}));
  // All that a token computes without context.
  EXPECT_EQ(2 * (30 * layer_weights + 576.0 * 49152), FlopsPerToken(config, {1}, 0));
}

TEST(ProductsTest, FiguresAreMediansBesideTheBoundOfTheirRound) {
  FakeProbe probe;
  const auto figures = MeasureProduct(probe, {"down", {.outputs = 10, .inputs = 5, .use = {}}}, 3);
  ASSERT_TRUE(figures.ok()) << figures.status();
  ASSERT_EQ(figures->size(), std::size(kProductRows));
  for (size_t i = 0; i < figures->size(); ++i) {
    const ProductFigures& f = (*figures)[i];
    EXPECT_EQ(f.rows, kProductRows[i]);
    EXPECT_EQ(probe.times_[f.rows], 3);
    // Up to 4 rows a matrix of 100 bytes waits for memory. Rounds took 2, 4 and 4 times the bound.
    const double least = std::max(0.1, f.rows * 100.0 / 4000);
    EXPECT_DOUBLE_EQ(f.seconds, 4 * least);
    EXPECT_DOUBLE_EQ(f.weight_bytes_per_second, 100 / f.seconds);
    EXPECT_DOUBLE_EQ(f.flops_per_second, f.rows * 100 / f.seconds);
    EXPECT_EQ(f.rates.bytes_per_second, 1000);
    EXPECT_EQ(f.rates.flops_per_second, 4000);
    EXPECT_DOUBLE_EQ(f.bound_share, 0.5);
  }
}

TEST(ProductsTest, TellsOfMissingMemory) {
  FakeProbe probe;
  EXPECT_EQ(MeasureProduct(probe, {"none", {}}, 1).status(),
            absl::ResourceExhaustedError("no memory"));
}

}  // namespace
}  // namespace recurve
