// SPDX-License-Identifier: Apache-2.0
#include "engine/base/in_parallel.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace recurve {

void InParallel(size_t pieces, uint32_t threads, const std::function<void(size_t piece)>& work) {
  std::atomic<size_t> next = 0;
  const auto take = [&] {
    for (size_t piece = next++; piece < pieces; piece = next++) work(piece);
  };
  std::vector<std::jthread> helpers;
  const size_t wanted = std::min<size_t>(threads, pieces);
  for (size_t i = 1; i < wanted; ++i) helpers.emplace_back(take);
  take();
}  // the helpers are joined here

}  // namespace recurve
