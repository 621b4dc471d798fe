// SPDX-License-Identifier: Apache-2.0
// What the stages of a step cost on a machine, by the number of rows.
#ifndef RECURVE_ENGINE_SCHEDULE_STAGE_COSTS_H_
#define RECURVE_ENGINE_SCHEDULE_STAGE_COSTS_H_

#include <cstdint>
#include <vector>

namespace recurve {

// The time of a stage by its rows, as far as it has been seen. Whatever else runs on the machine
// can only add to a time, and more rows never cost less: so of the times that were seen for a
// number of rows or for more the least one counts.
class CostCurve {
 public:
  // `rows` > 0 rows took `ns`.
  void See(uint32_t rows, double ns);

  // Of `rows` rows, in ns: on straight lines between what was seen, the last of which goes on
  // behind it. Below the least number of rows as much as that; 0 for no rows, and if nothing was
  // seen.
  double At(double rows) const;

 private:
  struct Point {
    double rows, ns;
  };
  std::vector<Point> points_;  // ascending in both
};

// Without measurements everything is free.
struct StageCosts {
  CostCurve ends;         // EXIT, sampling and ENTRY, of so many generated rows each
  CostCurve block;        // a pass of the block, its routers included
  CostCurve prompt_ends;  // EXIT and ENTRY of so many prompt rows each, without logits
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_STAGE_COSTS_H_
