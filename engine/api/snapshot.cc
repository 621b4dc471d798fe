// SPDX-License-Identifier: Apache-2.0
#include "engine/api/snapshot.h"

namespace recurve {

std::string_view StepPartName(int part) {
  static constexpr std::string_view kNames[EngineSnapshot::kParts] = {"exit", "sampling", "entry",
                                                                      "block", "routers"};
  return kNames[part];
}

}  // namespace recurve
