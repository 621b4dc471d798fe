// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/depth_caps.h"

#include <algorithm>

#include "engine/backend/rows.h"

namespace recurve {
namespace {

uint32_t CapAt(const std::vector<DepthCap>& caps, uint32_t position, uint32_t recursions) {
  return recurve::CapAt(caps.data(), static_cast<uint32_t>(caps.size()), position, recursions);
}

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
  const std::vector<uint32_t> beginnings = BeginningsFrom(0);
  const auto first = std::find_if(beginnings.begin(), beginnings.end(), [this](uint32_t position) {
    return At(position) < OwnAt(position);
  });
  return first == beginnings.end() ? kNowhere : *first;
}

void DepthCaps::Append(uint32_t slot, uint32_t position, std::vector<CapChange>& changes) const {
  for (const uint32_t beginning : BeginningsFrom(position)) {
    changes.push_back({slot, beginning, At(beginning)});
  }
}

std::vector<uint32_t> DepthCaps::BeginningsFrom(uint32_t position) const {
  std::vector<uint32_t> beginnings;
  for (const std::vector<DepthCap>* caps : {&own_, &limits_}) {
    for (const DepthCap& cap : *caps) {
      if (cap.position >= position) beginnings.push_back(cap.position);
    }
  }
  std::sort(beginnings.begin(), beginnings.end());
  beginnings.erase(std::unique(beginnings.begin(), beginnings.end()), beginnings.end());
  return beginnings;
}

}  // namespace recurve
