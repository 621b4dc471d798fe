// SPDX-License-Identifier: Apache-2.0
// What tests against the reference's files have in common.
#ifndef RECURVE_TESTS_ENGINE_GOLDEN_H_
#define RECURVE_TESTS_ENGINE_GOLDEN_H_

#include <cmath>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace recurve {

inline std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// A file of f32: [positions][vocab].
inline std::vector<float> ReadLogits(const std::filesystem::path& path) {
  const std::string bytes = ReadFile(path);
  std::vector<float> logits(bytes.size() / sizeof(float));
  std::memcpy(logits.data(), bytes.data(), logits.size() * sizeof(float));
  return logits;
}

// The logit of a router threshold p in [0, 1].
inline float ThresholdLogit(double p) {
  return static_cast<float>(p <= 0 ? -INFINITY : p >= 1 ? INFINITY : std::log(p / (1 - p)));
}

// ||found - expected|| / ||expected||; expected: [found.size()].
inline double RelativeError(const std::vector<float>& found, const float* expected) {
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    difference += std::pow(double{found[i]} - double{expected[i]}, 2);
    norm += std::pow(double{expected[i]}, 2);
  }
  return std::sqrt(difference / norm);
}

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_GOLDEN_H_
