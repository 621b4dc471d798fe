// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_API_MEMORY_PIECE_H_
#define RECURVE_ENGINE_API_MEMORY_PIECE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace recurve {

// Memory that was allocated in one piece, or several together, by what it is for.
struct MemoryPiece {
  std::string name;
  uint64_t bytes = 0;

  bool operator==(const MemoryPiece&) const = default;
};

// The pieces as people want to read them, the largest first: those whose names differ in numbers
// alone as one, `layer *: qkv (30)`; and last, as one, those below a hundredth of all.
std::vector<MemoryPiece> SummarizeMemory(const std::vector<MemoryPiece>& pieces);

}  // namespace recurve

#endif  // RECURVE_ENGINE_API_MEMORY_PIECE_H_
