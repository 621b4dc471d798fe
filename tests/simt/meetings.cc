// SPDX-License-Identifier: Apache-2.0
#include "tests/simt/meetings.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/backend/cuda/simt.h"
#include "tests/simt/mma_warp.h"

namespace recurve {
namespace {

using Meeting = EmulatedThread::Meeting;
using State = EmulatedThread::State;

bool WaitsForWarp(const EmulatedThread& thread) {
  return thread.state() == State::kWaits && thread.meeting() != Meeting::kSyncBlock;
}

bool AllAreWithTheFirst(EmulatedThreads threads) {
  return std::ranges::all_of(threads,
                             [&](const auto& thread) { return thread->IsWith(*threads.front()); });
}

// "0-31, 40" of ascending numbers.
std::string Ranges(const std::vector<uint32_t>& numbers) {
  std::string text;
  for (size_t begin = 0; begin < numbers.size();) {
    size_t last = begin;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    absl::StrAppend(&text, text.empty() ? "" : ", ", numbers[begin]);
    if (last > begin) absl::StrAppend(&text, "-", numbers[last]);
    begin = last + 1;
  }
  return text;
}

// "0-39 wait in SyncBlock() at scan.cu:12; 40-63 have returned".
std::string Groups(EmulatedThreads threads) {
  struct Group {
    const EmulatedThread* first;
    std::vector<uint32_t> numbers;
  };
  std::vector<Group> groups;
  for (const auto& thread : threads) {
    const auto group = std::ranges::find_if(
        groups, [&](const Group& other) { return thread->IsWith(*other.first); });
    if (group != groups.end()) {
      group->numbers.push_back(thread->index());
    } else {
      groups.push_back({thread.get(), {thread->index()}});
    }
  }
  std::string text;
  for (const Group& group : groups) {
    const bool waits = group.first->state() == State::kWaits;
    absl::StrAppend(&text, text.empty() ? "" : "; ", Ranges(group.numbers),
                    waits ? " wait in " + NameOf(group.first->meeting(), group.first->where())
                          : std::string(" have returned"));
  }
  return text;
}

}  // namespace

void EndWarpMeeting(EmulatedThreads warp) {
  if (!WaitsForWarp(*warp.front()) || !AllAreWithTheFirst(warp)) return;
  if (warp.front()->meeting() == Meeting::kMma) {
    MmaOperands operands[simt::kWarp];
    for (uint32_t lane = 0; lane < simt::kWarp; ++lane) operands[lane] = warp[lane]->operands();
    MultiplyWarp(operands);
  }
  uint32_t votes = 0;
  for (uint32_t lane = 0; lane < warp.size(); ++lane) {
    votes |= static_cast<uint32_t>(warp[lane]->given() != 0) << lane;
  }
  for (uint32_t lane = 0; lane < warp.size(); ++lane) {
    EmulatedThread& thread = *warp[lane];
    const bool shuffles = thread.meeting() == Meeting::kShuffleXor;
    thread.GoOn(shuffles ? warp[lane ^ thread.mask()]->given() : votes);
  }
}

bool EndBlockMeeting(EmulatedThreads block) {
  const EmulatedThread& first = *block.front();
  if (first.state() != State::kWaits || first.meeting() != Meeting::kSyncBlock) return false;
  if (!AllAreWithTheFirst(block)) return false;
  for (const auto& thread : block) thread->GoOn(0);
  return true;
}

std::string MissedMeeting(EmulatedThreads block) {
  const auto is = [](State state) {
    return [state](const auto& thread) { return thread->state() == state; };
  };
  if (std::ranges::any_of(block, is(State::kStopped))) return "";
  if (std::ranges::all_of(block, is(State::kReturned))) return "";
  const EmulatedBlock& place = block.front()->block();
  const std::string where = absl::StrCat(place.kernel.name, ": block ", place.index, ": ");
  const auto stuck =
      std::ranges::find_if(block, [](const auto& thread) { return WaitsForWarp(*thread); });
  if (stuck == block.end()) return where + "its threads do not meet: " + Groups(block);
  const size_t begin = (*stuck)->index() / simt::kWarp * simt::kWarp;
  const size_t size = std::min<size_t>(simt::kWarp, block.size() - begin);
  return absl::StrCat(where, "the threads of warp ", begin / simt::kWarp,
                      " do not meet: ", Groups(block.subspan(begin, size)));
}

}  // namespace recurve
