// SPDX-License-Identifier: Apache-2.0
// Lengths of prompts and texts, which a load draws for each request.
#ifndef RECURVE_CLIENT_LOAD_LENGTH_H_
#define RECURVE_CLIENT_LOAD_LENGTH_H_

#include <cstdint>
#include <random>
#include <string>

#include "absl/status/statusor.h"

namespace recurve::client {

// A distribution of whole numbers from 1 to kMost. What a normal or a lognormal distribution has
// beyond them is drawn as the nearest of them, so that far out the mean is not quite the one asked
// for.
class Length {
 public:
  static constexpr uint32_t kMost = 10000000;

  // Always `tokens`.
  explicit Length(uint32_t tokens) : text_(std::to_string(tokens)), first_(tokens) {}

  // "128"; "uniform:LEAST:MOST", both included; "normal:MEAN:STDDEV" and "lognormal:MEAN:STDDEV",
  // of the lengths themselves, not of their logarithms. InvalidArgument says what is expected.
  static absl::StatusOr<Length> Parse(const std::string& text);

  uint32_t Draw(std::mt19937_64& random) const;

  // As it was parsed.
  const std::string& text() const { return text_; }

 private:
  enum class Kind { kFixed, kUniform, kNormal, kLognormal };

  std::string text_;
  Kind kind_ = Kind::kFixed;
  double first_, second_ = 0;  // as the kind's name has them
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_LENGTH_H_
