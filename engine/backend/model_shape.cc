// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/model_shape.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace recurve {

std::string GroupName(const StepShape& shape, uint32_t group) {
  if (group == shape.entry_group()) return "entry";
  return group == shape.exit_group() ? "exit" : absl::StrCat(group);
}

StepShape ShapeOf(const ModelConfig& config) {
  StepShape shape;
  shape.recursions = config.recursions();
  // With an update, every recursion has a group of its own: the overlay over recursion 1's entries.
  shape.shared_kv = config.kv_mode == KvMode::kShared ? 1 : 0;
  return shape;
}

uint32_t GroupLayers(const ModelConfig& config, uint32_t group) {
  const StepShape shape = ShapeOf(config);
  if (group == shape.entry_group()) return config.entry_layers();
  if (group == shape.exit_group()) return config.exit_layers();
  return group < shape.exit_group() ? config.layers_per_recursion() : 0;
}

uint32_t PageTiles(const ModelConfig& config) {
  return std::max({config.entry_layers(), config.layers_per_recursion(), config.exit_layers()});
}

std::array<uint32_t, kMaxGroups> PageEntries(const ModelConfig& config) {
  std::array<uint32_t, kMaxGroups> entries = {};
  for (uint32_t group = 0; group < kMaxGroups; ++group) {
    const uint32_t layers = GroupLayers(config, group);
    if (layers > 0) entries[group] = kTileEntries * (PageTiles(config) / layers);
  }
  return entries;
}

}  // namespace recurve
