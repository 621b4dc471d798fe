// SPDX-License-Identifier: Apache-2.0
// Which sequence stays in which slot, and in which area of hidden rows.
#ifndef RECURVE_ENGINE_SCHEDULE_STAYS_H_
#define RECURVE_ENGINE_SCHEDULE_STAYS_H_

#include <cstdint>
#include <vector>

#include "engine/backend/step.h"
#include "engine/schedule/sequence.h"

namespace recurve {

// A slot or area is free for another sequence as soon as the one in it has left: a plan drops
// first. But steps that were planned before still speak of the older stay, so a slot keeps its
// stays until no outstanding step can. The lowest free number is taken. Thread-compatible.
class Stays {
 public:
  Stays(uint32_t slots, uint32_t areas) : slots_(slots), areas_(areas, false) {}

  bool HasFreeSlot() const { return FreeSlot() < slots_.size(); }
  bool HasFreeArea() const { return FreeArea() < areas_.size(); }

  // Puts `sequence` into a free slot, and into a free area if `wants_area`, with the plan of
  // `epoch`; results up to epoch `committed` have come. Valid until the slot's next Begin or At.
  Stay& Begin(Sequence* sequence, bool wants_area, uint32_t epoch, uint32_t committed);

  // The slot's last stay.
  Stay& Current(uint32_t slot) { return slots_[slot].back(); }
  const Stay& Current(uint32_t slot) const { return slots_[slot].back(); }

  // The stay that the results of `epoch` speak of; earlier results have been asked for.
  Stay& At(uint32_t slot, uint32_t epoch);

  // The sequence needs its area no more. May be called again.
  void ReturnArea(uint32_t slot);

  // The sequence leaves the slot.
  void End(uint32_t slot);

  // Appends the slots that the backend must hear of since this was last called: those that were
  // left before the backend had finished there by itself.
  void TellDrops(std::vector<Drop>& drops);

 private:
  uint32_t FreeSlot() const;
  uint32_t FreeArea() const;
  // Forgets stays that no result from `epoch` on can speak of.
  void Forget(uint32_t slot, uint32_t epoch);

  std::vector<std::vector<Stay>> slots_;  // [slots], oldest stay first
  std::vector<bool> areas_;               // [areas]: lent
  std::vector<Drop> drops_;               // that TellDrops has not told yet
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_SCHEDULE_STAYS_H_
