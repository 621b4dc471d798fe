// SPDX-License-Identifier: Apache-2.0
// Which of several blockings with equal bits is the fastest, found by timing them while they work.
#ifndef RECURVE_ENGINE_BACKEND_CPU_KERNELS_BLOCKING_CHOICE_H_
#define RECURVE_ENGINE_BACKEND_CPU_KERNELS_BLOCKING_CHOICE_H_

#include <array>
#include <cstdint>

namespace recurve {

// Work comes in turns, most of them as long as the one before, and one of kBlockings blockings does
// each. Every kRestTurns turns another one is tried: it and the best one do turns alternately, so
// that a core that slows meanwhile slows both, and it becomes the best one if it was faster in most
// pairs. A few pairs of unequal turns, where one matrix ends and the next begins, do no harm. A
// neighbour on the same core, who comes and goes within minutes, changes which one that is. Of one
// thread.
class BlockingChoice {
 public:
  static constexpr uint32_t kBlockings = 4;
  // A trial takes less than 2 % of all turns, half of them by the best blocking.
  static constexpr uint32_t kRestTurns = 2048;
  static constexpr uint32_t kTrialPairs = 16;
  // Of two that are equal each is faster in so many pairs once in 26 trials.
  static constexpr uint32_t kPairsToWin = 12;

  BlockingChoice() = default;
  // Begins with `best`: for tests.
  explicit BlockingChoice(uint32_t best) : best_(best), challenger_(best) {}

  // The blocking that does the turns between trials: at first 0.
  uint32_t best() const { return best_; }

  // Calls work(blocking), which is one turn. `now` tells a time that grows.
  template <typename Now, typename Work>
  void Turn(Now now, Work work) {
    if (turns_left_ > 0) {
      --turns_left_;
      work(best_);
      return;
    }
    const bool challenged = trial_turns_ % 2 == 1;
    const uint64_t begin = now();
    work(challenged ? challenger_ : best_);
    Record(challenged, now() - begin);
  }

 private:
  void Record(bool challenged, uint64_t ticks) {
    if (trial_turns_ == 0) NextChallenger();
    ++trial_turns_;
    if (!challenged) {
      best_ticks_ = ticks;
      return;
    }
    if (ticks < best_ticks_) ++wins_;
    if (trial_turns_ < 2 * kTrialPairs) return;
    if (wins_ >= kPairsToWin) best_ = challenger_;
    wins_ = 0;
    trial_turns_ = 0;
    turns_left_ = kRestTurns;
  }

  void NextChallenger() {
    challenger_ = (challenger_ + 1) % kBlockings;
    if (challenger_ == best_) challenger_ = (challenger_ + 1) % kBlockings;
  }

  uint32_t best_ = 0;
  uint32_t challenger_ = 0;
  uint32_t turns_left_ = kRestTurns;  // until a trial begins; 0: one is under way
  uint32_t trial_turns_ = 0;          // of this trial so far
  uint32_t wins_ = 0;                 // pairs of it in which the challenger was faster
  uint64_t best_ticks_ = 0;           // of this pair's first turn
};

// A thread's choice for each number of tiles of 16 rows that products take together, up to 8, since
// what is the fastest depends on it. Beside nothing that other threads write.
struct alignas(64) BlockingChoices {
  static constexpr uint32_t kMaxTiles = 8;
  std::array<BlockingChoice, kMaxTiles> of_tiles;  // of_tiles[tiles - 1]
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_CPU_KERNELS_BLOCKING_CHOICE_H_
