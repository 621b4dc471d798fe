// SPDX-License-Identifier: Apache-2.0
#include "engine/model/rope.h"

#include "engine/base/math.h"

namespace recurve {
namespace {

constexpr double kTwoPi = 6.283185307179586;

// Keeps a frequency whose wave fits high_frequency_factor times and more into the context of the
// training before, divides by `factor` one whose wave fits low_frequency_factor times or less, and
// goes over from one to the other in between.
double ScaleAsLlama3(const RopeScaling& scaling, double frequency) {
  const double low = scaling.low_frequency_factor;
  const double high = scaling.high_frequency_factor;
  const double waves = scaling.original_positions * frequency / kTwoPi;
  if (waves > high) return frequency;
  const double scaled = frequency / scaling.factor;
  if (waves < low) return scaled;
  const double kept = (waves - low) / (high - low);
  return (1.0 - kept) * scaled + kept * frequency;
}

}  // namespace

std::vector<double> RotaryFrequencies(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  std::vector<double> frequencies;
  for (uint32_t i = 0; i < config.head_dim / 2; ++i) {
    const double frequency = Pow(double{config.rope_theta}, -2.0 * i / config.head_dim);
    switch (scaling.type) {
      case RopeScaling::Type::kNone:
        frequencies.push_back(frequency);
        break;
      case RopeScaling::Type::kLinear:
        frequencies.push_back(frequency / scaling.factor);
        break;
      case RopeScaling::Type::kLlama3:
        frequencies.push_back(ScaleAsLlama3(scaling, frequency));
        break;
    }
  }
  return frequencies;
}

}  // namespace recurve
