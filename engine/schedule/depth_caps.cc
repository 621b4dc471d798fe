// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/depth_caps.h"

#include <algorithm>
#include <array>
#include <span>

#include "engine/backend/rows.h"

namespace recurve {
namespace {

uint32_t CapAt(const std::vector<DepthCap>& caps, uint32_t position, uint32_t recursions) {
  return recurve::CapAt(caps.data(), static_cast<uint32_t>(caps.size()), position, recursions);
}

// The positions from `first` on at which a cap of either list begins, in order.
class Beginnings {
 public:
  Beginnings(const std::vector<DepthCap>& a, const std::vector<DepthCap>& b, uint32_t first)
      : lists_{From(a, first), From(b, first)} {}

  // kNowhere behind the last one.
  uint32_t position() const {
    uint32_t position = DepthCaps::kNowhere;
    for (const auto& list : lists_) {
      if (!list.empty()) position = std::min(position, list.front().position);
    }
    return position;
  }
  void Advance() {
    const uint32_t past = position();
    for (auto& list : lists_) {
      if (!list.empty() && list.front().position == past) list = list.subspan(1);
    }
  }

 private:
  static std::span<const DepthCap> From(const std::vector<DepthCap>& caps, uint32_t first) {
    const auto begin = std::partition_point(
        caps.begin(), caps.end(), [first](const DepthCap& cap) { return cap.position < first; });
    return {begin, caps.end()};
  }

  std::array<std::span<const DepthCap>, 2> lists_;
};

}  // namespace

bool DepthCaps::Limit(uint32_t position, uint32_t cap) {
  const size_t before = limits_.size();
  while (!limits_.empty() && limits_.back().position >= position) limits_.pop_back();
  const bool is_known = limits_.size() == before && CapAt(limits_, position, recursions_) == cap;
  if (is_known) return false;
  limits_.push_back({position, cap});
  return true;
}

uint32_t DepthCaps::OwnAt(uint32_t position) const { return CapAt(own_, position, recursions_); }

uint32_t DepthCaps::At(uint32_t position) const {
  return std::min(OwnAt(position), CapAt(limits_, position, recursions_));
}

uint32_t DepthCaps::FirstLowered() const {
  if (limits_.empty()) return kNowhere;
  for (Beginnings next(own_, limits_, 0); next.position() != kNowhere; next.Advance()) {
    if (At(next.position()) < OwnAt(next.position())) return next.position();
  }
  return kNowhere;
}

uint32_t DepthCaps::Append(uint32_t slot, uint32_t begin, uint32_t end, size_t most,
                           std::vector<CapChange>& changes) const {
  for (Beginnings next(own_, limits_, begin); next.position() < end; next.Advance()) {
    if (changes.size() >= most) return next.position();
    changes.push_back({slot, next.position(), At(next.position())});
  }
  return std::max(begin, end);
}

}  // namespace recurve
