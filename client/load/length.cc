// SPDX-License-Identifier: Apache-2.0
#include "client/load/length.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace recurve::client {

absl::StatusOr<Length> Length::Parse(const std::string& text) {
  const auto is_length = [](double value) { return value >= 1 && value <= kMost; };
  const auto is_whole = [](double value) { return value == std::floor(value); };
  Length length(1);
  length.text_ = text;
  const std::vector<std::string> words = absl::StrSplit(text, ':');
  bool good = false;
  if (uint32_t tokens = 0; words.size() == 1 && absl::SimpleAtoi(text, &tokens)) {
    length.first_ = tokens;
    good = is_length(length.first_);
  } else if (words.size() == 3 && absl::SimpleAtod(words[1], &length.first_) &&
             absl::SimpleAtod(words[2], &length.second_) && is_length(length.first_)) {
    const double first = length.first_, second = length.second_;
    if (words[0] == "uniform") {
      length.kind_ = Kind::kUniform;
      good = is_length(second) && first <= second && is_whole(first) && is_whole(second);
    } else {
      length.kind_ = words[0] == "normal" ? Kind::kNormal : Kind::kLognormal;
      good = (words[0] == "normal" || words[0] == "lognormal") && second >= 0 && second <= kMost;
    }
  }
  if (good) return length;
  return absl::InvalidArgumentError(
      absl::StrCat("'", text,
                   "' is not possible: expected a whole number, uniform:LEAST:MOST, "
                   "normal:MEAN:STDDEV or lognormal:MEAN:STDDEV, of lengths from 1 to ",
                   kMost));
}

uint32_t Length::Draw(std::mt19937_64& random) const {
  double drawn = first_;
  switch (kind_) {
    case Kind::kFixed:
      break;
    case Kind::kUniform:
      drawn = std::floor(std::uniform_real_distribution<>(first_, second_ + 1)(random));
      drawn = std::min(drawn, second_);  // rounding may give the open end
      break;
    case Kind::kNormal:
      if (second_ > 0) drawn = std::normal_distribution<>(first_, second_)(random);
      break;
    case Kind::kLognormal: {
      const double variance = std::log1p(second_ * second_ / (first_ * first_));
      const double mean = std::log(first_) - variance / 2;
      drawn = std::exp(mean + std::sqrt(variance) * std::normal_distribution<>()(random));
      break;
    }
  }
  return static_cast<uint32_t>(std::clamp(std::round(drawn), 1.0, static_cast<double>(kMost)));
}

}  // namespace recurve::client
