// SPDX-License-Identifier: Apache-2.0
// What the schedule and the page tables need to know of a model: how it recurs, and how many cache
// entries a page of each group holds.
#ifndef RECURVE_ENGINE_BACKEND_MODEL_SHAPE_H_
#define RECURVE_ENGINE_BACKEND_MODEL_SHAPE_H_

#include <array>
#include <cstdint>
#include <string>

#include "engine/backend/step.h"
#include "engine/model/config.h"

namespace recurve {

// Entries of one layer are stored in tiles of this many.
inline constexpr uint32_t kTileEntries = 16;

// Recursions and cache groups of a model. Precondition: N + 2 <= kMaxGroups.
StepShape ShapeOf(const ModelConfig& config);

// "entry", "1".."N", "exit": what flags, metrics and reports call a cache group.
std::string GroupName(const StepShape& shape, uint32_t group);

// Layers whose keys and values the entries of `group` hold: 0 for the ends of a model without end
// layers, and for numbers that are no group of the model.
uint32_t GroupLayers(const ModelConfig& config, uint32_t group);

// Layers of the largest group, b. Every page has room for b tiles.
uint32_t PageTiles(const ModelConfig& config);

// Entries that a page of each group holds: 16 * floor(b / layers(g)). 0: the group has no layers,
// so it has no pages and is left out of every sum.
std::array<uint32_t, kMaxGroups> PageEntries(const ModelConfig& config);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_MODEL_SHAPE_H_
