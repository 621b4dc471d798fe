// SPDX-License-Identifier: Apache-2.0
// RECURVE_MODEL_LOADS sets the number of loads, RECURVE_MODEL_FIRST the seed of the first.
#include "tests/engine/backend/cuda/model_load.h"

#include <cstdlib>
#include <iostream>

#include "gtest/gtest.h"

namespace recurve::cuda {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(ModelLoadTest, EachStepIsTheCpus) {
  ModelFigures figures;
  const uint64_t first = FromEnvironment("RECURVE_MODEL_FIRST", 1);
  const uint64_t cases = FromEnvironment("RECURVE_MODEL_LOADS", kModelLoads);
  for (uint64_t seed = first; seed < first + cases; ++seed) {
    EXPECT_EQ(RunModelLoad(seed, figures), "") << "seed " << seed;
  }
  std::cout << cases << " loads, " << figures.steps << " steps, " << figures.tokens << " tokens, "
            << figures.endless << " of them beyond the context, " << figures.evictions
            << " evictions, " << figures.copies << " copies of pages, " << figures.not_finite
            << " sequences without finite logits\n";
  if (cases < kModelLoads) return;
  // The loads must reach everything that they are meant to test.
  EXPECT_GT(figures.endless, cases / 4);
  EXPECT_GT(figures.evictions, cases);
  EXPECT_GT(figures.copies, cases / 3);
  EXPECT_GT(figures.not_finite, cases / 20);
}

}  // namespace
}  // namespace recurve::cuda
