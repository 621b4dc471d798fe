// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/stage_costs.h"

#include <algorithm>

namespace recurve {

void CostCurve::See(uint32_t rows, double ns) {
  auto next = std::find_if(points_.begin(), points_.end(),
                           [rows](const Point& point) { return point.rows >= rows; });
  if (next != points_.end()) ns = std::min(ns, next->ns);
  if (next == points_.end() || next->rows > rows) next = points_.insert(next, {0, 0});
  *next = {static_cast<double>(rows), ns};
  for (auto fewer = points_.begin(); fewer != next; ++fewer) fewer->ns = std::min(fewer->ns, ns);
}

double CostCurve::At(double rows) const {
  if (rows <= 0 || points_.empty()) return 0;
  if (points_.size() == 1 || rows <= points_.front().rows) return points_.front().ns;
  auto to = points_.begin() + 1;
  while (to + 1 != points_.end() && to->rows < rows) ++to;
  const Point& from = *(to - 1);
  return from.ns + (to->ns - from.ns) * (rows - from.rows) / (to->rows - from.rows);
}

}  // namespace recurve
