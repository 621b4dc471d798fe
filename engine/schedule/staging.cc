// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/staging.h"

#include <algorithm>
#include <cmath>

#include "engine/base/mix_bits.h"

namespace recurve {
namespace {

constexpr uint32_t kMostRows = 32;      // of a scene
constexpr uint32_t kTokens = 2048;      // of a scene, over which a choice is judged
constexpr double kFirstLook = 16;       // tokens until shares are taken for the first time
constexpr double kWindow = 512;         // tokens of late: then all that was counted is halved
constexpr double kNotableShare = 0.01;  // a change of shares below it changes no choice
constexpr double kNotableTime =
    0.997;  // a choice of more rows must take less than this of one of fewer

// A choice between these suffices.
constexpr uint32_t kChoices[] = {1,  2,  3,  4,  5,  6,  7,  8,  10, 12,
                                 14, 16, 18, 20, 22, 24, 26, 28, 30, 32};

// Lets each row that has recursions left run one; returns how many have none left now. Without a
// branch, so that it is a few instructions for all rows.
uint32_t RunAll(std::array<uint8_t, kMostRows>& left) {
  uint8_t ended = 0;
  for (uint8_t& row : left) {
    ended = static_cast<uint8_t>(ended + (row == 1));
    row = static_cast<uint8_t>(row - (row != 0));
  }
  return ended;
}

}  // namespace

// What stages cost with so many of a scene's rows, and the depths of its tokens: the same for all
// choices, so that each is worked out once.
class Staging::Tables {
 public:
  Tables(const Staging& staging, const Scene& scene) : staging_(staging) {
    for (uint32_t rows = 0; rows <= scene.rows; ++rows) {
      ends_[rows] = staging.costs_.ends.At(rows * scene.scale);
      block_[rows] = staging.costs_.block.At(rows * scene.scale);
    }
  }

  double ends(uint32_t rows) const { return ends_[rows]; }
  double block(uint32_t rows) const { return block_[rows]; }
  // Of the index-th token of a sequence, each of which comes one after the other.
  uint32_t DepthOf(uint32_t sequence, uint32_t index) {
    if (index >= kKept) return staging_.DepthOf(sequence, index);
    if (index == known_[sequence]) {
      depths_[sequence][known_[sequence]++] =
          static_cast<uint8_t>(staging_.DepthOf(sequence, index));
    }
    return depths_[sequence][index];
  }

 private:
  static constexpr uint32_t kKept = 256;  // tokens of each sequence: some ten times what is usual

  const Staging& staging_;
  std::array<double, kMostRows + 1> ends_, block_;
  std::array<uint32_t, kMostRows> known_{};
  std::array<std::array<uint8_t, kKept>, kMostRows> depths_;
};

Staging::Staging(const StageCosts& costs, const StepShape& shape, const BackendLimits& limits)
    : costs_(costs),
      recursions_(shape.recursions),
      slots_(limits.slots),
      ends_(limits.ends),
      block_rows_(limits.block_rows),
      longest_wait_(recursions_ * ((slots_ + block_rows_ - 1) / block_rows_)),
      next_look_(kFirstLook),
      ends_min_(slots_ + 1) {
  // Until something is known any depth is as likely as any other.
  for (uint32_t i = 0; i < recursions_; ++i) up_to_[i] = (i + 1.0) / recursions_;
}

void Staging::CountDepth(uint32_t depth) {
  ++counts_[depth - 1];
  if (++count_ < next_look_) return;
  TakeShares();
  next_look_ = std::min(2 * count_, kWindow);
  if (count_ < kWindow) return;
  for (double& count : counts_) count /= 2;
  count_ /= 2;
}

void Staging::TakeShares() {
  std::array<double, kMaxGroups> up_to{};
  double sum = 0;
  double change = 0;
  for (uint32_t i = 0; i < recursions_; ++i) {
    sum += counts_[i] / count_;
    up_to[i] = sum;
    change = std::max(change, std::abs(up_to[i] - up_to_[i]));
  }
  if (change < kNotableShare) return;
  up_to_ = up_to;
  std::fill(ends_min_.begin(), ends_min_.end(), 0);
}

uint32_t Staging::EndsMin(uint32_t sequences) {
  if (sequences <= 1 || recursions_ == 1 || costs_.ends.At(1) == 0) return 1;
  uint32_t& chosen = ends_min_[sequences];
  if (chosen == 0) chosen = Choose(sequences).ends_min;
  return std::min(chosen, ends_);
}

Staging::Choice Staging::Choose(uint32_t sequences) const {
  Scene scene;
  scene.rows = std::min(sequences, kMostRows);
  scene.scale = static_cast<double>(sequences) / scene.rows;
  scene.block_rows = std::max(1U, static_cast<uint32_t>(std::lround(block_rows_ / scene.scale)));
  Tables tables(*this, scene);
  uint32_t best = 1;
  double least = TimeOfToken(scene, best, tables);
  for (const uint32_t rows : kChoices) {
    if (rows == 1 || rows > scene.rows) continue;
    const double time = TimeOfToken(scene, rows, tables);
    if (time >= kNotableTime * least) continue;
    best = rows;
    least = time;
  }
  const double ends_min = best == 1 ? 1 : std::ceil(best * scene.scale);
  return {static_cast<uint32_t>(ends_min), least / scene.scale};
}

double Staging::TimeOfToken(const Scene& scene, uint32_t ends_min, Tables& tables) const {
  std::array<uint8_t, kMostRows> left{};     // recursions of each sequence's row; 0: it waits
  std::array<uint32_t, kMostRows> tokens{};  // that it has begun
  for (uint32_t i = 0; i < scene.rows; ++i) left[i] = static_cast<uint8_t>(i % recursions_ + 1);
  uint32_t waiting = 0;
  uint32_t waited = 0;  // steps, of the row that has waited longest
  uint32_t cursor = 0;
  uint32_t done = 0;
  double time = 0;
  while (done < kTokens) {
    if (waiting >= ends_min || waiting == scene.rows || waited > longest_wait_) {
      for (uint32_t i = 0; i < scene.rows; ++i) {
        if (left[i] == 0) left[i] = static_cast<uint8_t>(tables.DepthOf(i, tokens[i]++));
      }
      time += tables.ends(waiting);
      done += waiting;
      waiting = waited = 0;
    }
    uint32_t ran = 0;
    const uint32_t begin = cursor;
    const bool all_run = scene.rows - waiting <= scene.block_rows;
    if (all_run) {
      ran = scene.rows - waiting;
      waiting += RunAll(left);
    }
    for (uint32_t i = 0; i < scene.rows && !all_run; ++i) {
      const uint32_t row = begin + i < scene.rows ? begin + i : begin + i - scene.rows;
      if (left[row] == 0) continue;
      if (ran == scene.block_rows) {  // goes first in the next step, as backends have it
        cursor = row;
        break;
      }
      ++ran;
      if (--left[row] == 0) ++waiting;
    }
    time += tables.block(ran);
    if (waiting > 0) ++waited;
  }
  return time / done;
}

uint32_t Staging::DepthOf(uint32_t sequence, uint32_t index) const {
  const uint64_t word = MixBits(kGoldenGamma * (uint64_t{index} * kMostRows + sequence + 1));
  const double draw = static_cast<double>(word >> 11) * 0x1.0p-53;
  uint32_t depth = 1;
  while (depth < recursions_ && draw >= up_to_[depth - 1]) ++depth;
  return depth;
}

}  // namespace recurve
