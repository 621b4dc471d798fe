// SPDX-License-Identifier: Apache-2.0
#include "client/cli/latency.h"

#include <algorithm>
#include <limits>

namespace recurve::client {
namespace {

bool WellFormed(const v1::Histogram& histogram) {
  return histogram.counts_size() == histogram.bounds_size() + 1;
}

bool Continues(const v1::Histogram& before, const v1::Histogram& now) {
  return std::equal(before.bounds().begin(), before.bounds().end(), now.bounds().begin(),
                    now.bounds().end()) &&
         std::equal(before.counts().begin(), before.counts().end(), now.counts().begin(),
                    now.counts().end(), [](uint64_t was, uint64_t is) { return was <= is; });
}

}  // namespace

Latency::Latency(const v1::Histogram& before, const v1::Histogram& now) {
  if (!WellFormed(now)) return;  // a server of another version
  histogram_ = now;
  if (Continues(before, now)) {
    for (int i = 0; i < now.counts_size(); ++i) {
      histogram_.set_counts(i, now.counts(i) - before.counts(i));
    }
    histogram_.set_sum(now.sum() - before.sum());
  }
  for (const uint64_t count : histogram_.counts()) count_ += static_cast<double>(count);
}

std::optional<double> Latency::Mean() const {
  if (count_ == 0) return std::nullopt;
  return histogram_.sum() / count_;
}

std::optional<double> Latency::Quantile(double share) const {
  if (count_ == 0) return std::nullopt;
  const double rank = share * count_;
  double below = 0;  // observations in the buckets before
  double lower = 0;
  for (int i = 0; i < histogram_.bounds_size(); ++i) {
    const auto inside = static_cast<double>(histogram_.counts(i));
    const double upper = histogram_.bounds(i);
    if (inside > 0 && below + inside >= rank) {
      return lower + (upper - lower) * (rank - below) / inside;
    }
    below += inside;
    lower = upper;
  }
  return std::numeric_limits<double>::infinity();
}

double Latency::largest_bound() const {
  return histogram_.bounds().empty() ? 0.0 : *histogram_.bounds().rbegin();
}

}  // namespace recurve::client
