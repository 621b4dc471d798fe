// SPDX-License-Identifier: Apache-2.0
// The step in types: what the schedule tells a backend (StepPlan), what the backend answers
// (StepResult), and the one function that says what a step did to a slot (Resolve). Shared by the
// schedule, the CPU backend and the planner of a device backend; everything but the two vectors-of-
// words containers is made of 32-bit words and compiled for host and device.
//
// Terms
// - slot: one sequence in flight: its state, tables, token history and sampling parameters.
// - row: one token of one sequence at one stage: ENTRY (embedding, first unique layer), BLOCK (one
//   recursion of the shared block, then gate and router) or EXIT (last unique layer, final norm
//   and, where a next token is wanted, LM head and sampling).
// - span: `rows` consecutive tokens of one slot from `position` on, that pass ENTRY, the recursions
//   and EXIT together: one row for a generated token, up to `chunk` rows of a prompt. A slot has at
//   most one span in flight. A row that the router lets go waits for the rest of its span; when
//   none is active all rows of the span pass EXIT in one step.
// - group: a set of layers with the same set of cached tokens: entry layers, each recursion of the
//   block, exit layers. Page tables are per (slot, group).
// - area: `chunk` consecutive hidden rows lent to a slot while it works on its prompt.
//
// A plan names no rows: every admitted slot is continued by the backend until it finishes, is
// dropped, or meets its `room`. A step runs, in this order: EXIT, sampling, ENTRY, the block for
// rows at mixed recursions, and the routers' decisions, so that a token sampled in a step enters
// the block in the same step.
#ifndef RECURVE_ENGINE_BACKEND_STEP_H_
#define RECURVE_ENGINE_BACKEND_STEP_H_

#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "engine/base/host_device.h"
#include "engine/base/token_id.h"
#include "engine/sampling/params.h"

namespace recurve {

// Entry group, at most 14 recursions, exit group. A model with more is refused at load.
inline constexpr uint32_t kMaxGroups = 16;
inline constexpr uint32_t kNoArea = std::numeric_limits<uint32_t>::max();
// `ends_min` of a policy that runs EXIT and ENTRY only when no row waits for the block.
inline constexpr uint32_t kEndsWhenBlockEmpty = std::numeric_limits<uint32_t>::max();

// What a slot waits for; kNone: free or finished.
enum class Stage : uint32_t { kNone, kEntry, kBlock, kExit };

// What one step did to a slot, in this order; bits of Outcome::ran.
inline constexpr uint32_t kRanExit = 1;
inline constexpr uint32_t kRanEntry = 2;
inline constexpr uint32_t kRanBlock = 4;

// Bits of Outcome::flags.
inline constexpr uint32_t kStopId = 1;     // the sampled token is one of the slot's stop ids
inline constexpr uint32_t kNotFinite = 2;  // the logits held a NaN or infinity; nothing was sampled

// The model as far as Resolve needs it. Groups are numbered: entry 0, recursion r its own group r
// (shared KV without update: all recursions group 1), exit last.
struct StepShape {
  uint32_t recursions = 1;  // N
  uint32_t shared_kv = 0;   // 1: every recursion reads group 1, and only recursion 1 appends
  RECURVE_HOST_DEVICE constexpr uint32_t groups() const { return exit_group() + 1; }
  RECURVE_HOST_DEVICE constexpr uint32_t entry_group() const { return 0; }
  RECURVE_HOST_DEVICE constexpr uint32_t exit_group() const {
    return (shared_kv != 0 ? 1 : recursions) + 1;
  }
  // Recursions are counted from 1.
  RECURVE_HOST_DEVICE constexpr uint32_t group(uint32_t recursion) const {
    return shared_kv != 0 ? 1 : recursion;
  }
  RECURVE_HOST_DEVICE constexpr bool appends(uint32_t recursion) const {
    return shared_kv == 0 || recursion == 1;
  }
};

struct SlotLimits {
  uint32_t prompt = 0;  // tokens given (on resume: generated ones too); EXIT of a position >=
                        // prompt - 1 samples
  uint32_t end = 0;     // finished when position reaches it: the request's prompt + new tokens - 1
  uint32_t room = 0;    // no span holds a position >= room: tokens and pages are there up to it
  uint32_t chunk = 1;   // most rows of a prompt span
};

struct SlotState {
  Stage stage = Stage::kNone;
  uint32_t recursion = 0;  // the recursion that the span takes next (kBlock), counted from 1
  uint32_t position = 0;   // of the span's first row; tokens before it are done
  uint32_t rows = 0;       // of the span in flight; 0 in kEntry
  uint32_t active = 0;     // rows that take `recursion`
  uint32_t count[kMaxGroups] = {};  // entries held in each group
};

// What one step did to one slot.
struct Outcome {
  uint32_t slot = 0;
  uint32_t ran = 0;          // kRan* bits
  uint32_t rows = 0;         // kRanEntry: rows of the span that began
  uint32_t active = 0;       // kRanBlock: rows that take the next recursion
  TokenId token = kNoToken;  // kRanExit: the sampled token, or kNoToken
  uint32_t flags = 0;        // kStopId, kNotFinite
  RECURVE_HOST_DEVICE constexpr bool stop() const { return flags != 0; }
};

// The state of a slot after a step: once for each slot and step. The host's mirror, the CPU backend
// and a device's planner all call it.
RECURVE_HOST_DEVICE constexpr SlotState Resolve(SlotState s, const Outcome& o, const SlotLimits& l,
                                                const StepShape& m) {
  if ((o.ran & kRanExit) != 0) {
    s.count[m.exit_group()] += s.rows;
    s.position += s.rows;
    s.rows = s.active = 0;
    s.stage = o.stop() || s.position >= l.end ? Stage::kNone : Stage::kEntry;
  }
  if (s.stage == Stage::kEntry && (o.ran & kRanEntry) != 0) {
    s.rows = s.active = o.rows;
    s.recursion = 1;
    s.count[m.entry_group()] += o.rows;
    s.stage = Stage::kBlock;
  }
  if (s.stage == Stage::kBlock && (o.ran & kRanBlock) != 0) {
    if (m.appends(s.recursion)) s.count[m.group(s.recursion)] += s.active;
    if (o.active > 0 && s.recursion < m.recursions) {
      ++s.recursion;
      s.active = o.active;
    } else {
      s.active = 0;
      s.stage = Stage::kExit;
    }
  }
  return s;
}

// Rows of the span that a slot waiting for ENTRY begins next; 0: it is held at its room.
RECURVE_HOST_DEVICE constexpr uint32_t SpanRows(const SlotState& s, const SlotLimits& l) {
  if (s.position >= l.room) return 0;
  uint32_t rows = 1;
  if (s.position < l.prompt) {
    rows = l.prompt - s.position < l.chunk ? l.prompt - s.position : l.chunk;
  }
  return rows < l.room - s.position ? rows : l.room - s.position;
}

// Entries that the span in flight may still append to `group`.
RECURVE_HOST_DEVICE constexpr uint32_t Pending(const SlotState& s, uint32_t group,
                                               const StepShape& m) {
  if (s.stage != Stage::kBlock && s.stage != Stage::kExit) return 0;
  if (group == m.exit_group()) return s.rows;
  if (s.stage == Stage::kExit || group == m.entry_group()) return 0;
  const uint32_t next = m.shared_kv != 0 ? 1 : group;  // the recursion that appends to `group`
  return next >= s.recursion ? s.active : 0;
}

// Whether the EXIT of the span's rows yields a token: the span reaches the last given token.
RECURVE_HOST_DEVICE constexpr bool Samples(const SlotState& s, const SlotLimits& l) {
  return s.position + s.rows >= l.prompt && s.position + s.rows <= l.end;
}

// Which entries of a group over its budget go; eviction.h says it exactly.
enum class EvictionPolicy : uint32_t { kNone, kWindow, kAttention, kRouter };
inline constexpr uint32_t kEvictionPolicies = 4;

// ---- StepPlan: caps of this step, then changes, applied in the order of the members. ----
//
// One page in two changes of a plan: nothing reads or writes what an earlier change has written,
// and nothing copies a page that an eviction rearranges. So all evictions may run at once, and a
// copy reads what the page held before the plan. What an earlier change has only read may be
// written over, since a page can be let go and given away in one plan; so the order counts:
// evictions, then copies in theirs, then the rows of the step. A backend refuses a plan in which an
// eviction or a copy does not obey. Page by page:
// - drop, anything: allowed. The slot lets go of its pages before all else.
// - eviction, eviction: forbidden. A page of the `count` entries has no other owner, neither before
//   the plan nor after it.
// - eviction, copy from: forbidden. Whoever needs a copy gets it in an earlier plan.
// - eviction, copy to or page change: only a page behind the `keep` entries, once the slot has let
//   it go.
// - copy from, copy from: allowed.
// - copy from, later copy to: allowed. The page was let go once it had been copied.
// - copy from, page change: allowed. The page is shared once more, or let go and given away.
// - copy to, later copy from or copy to: forbidden.
// - copy to, page change: exactly one, which gives the page to the slot that alone has it.
// - page change, page change: to several slots only if all have each entry of the page already.
// - anything, rows: a slot's rows read what all changes have left, and write behind its entries, up
//   to its room, to pages that no other slot has.
// Prefixes that only the host knows own pages too: a page in no slot's table need not be free.

struct Drop {
  uint32_t slot;
};

// Bits of Admission::wants.
inline constexpr uint32_t kWantsPromptLogprobs = 1;
inline constexpr uint32_t kWantsRawLogits = 2;  // tests alone: every row with logits returns them

// A slot whose room is its position is held: it runs nothing until a later plan raises its room,
// when plans have told all that its rows need.
struct Admission {
  uint32_t slot;
  uint32_t area;  // of the spans below limits.prompt; kNoArea: a one-row prompt needs none, and
                  // runs, as every generated token does, in the hidden row of its slot
  SlotState state;
  SlotLimits limits;
  SamplingParams sampling;
  float threshold_logit;  // a row passes iff its deciding logit >= this; -inf always, +inf never
  uint32_t logprobs;      // most likely tokens reported beside each sampled one; kNoLogprobs: none
  uint32_t wants;         // kWants* bits
  EvictionPolicy eviction;
  uint32_t sinks, recent;  // entries of a group that no eviction takes: its first and last ones
  uint32_t bias_begin, bias_count;  // in StepPlan::biases
  uint32_t stop_begin, stop_count;  // in StepPlan::stop_ids
};
inline constexpr uint32_t kNoLogprobs = std::numeric_limits<uint32_t>::max();

// Of the slot's `count` entries in `group` `keep` stay, which Eviction::Choose names. The slot
// waits for ENTRY at its room, and the pages of these entries, as they were before the plan, have
// no other owner.
struct Evict {
  uint32_t slot, group, count, keep;
};

// Page `to` becomes a copy of page `from`: keys, values, positions and router scores.
struct PageCopy {
  uint32_t from, to;
};

// Page `page` is the `index`-th of the slot's group.
struct PageChange {
  uint32_t slot, group, index, page;
};

// The slot's history holds `token` at `position`; of tokens before the state that the slot is
// admitted with too, since penalties count them. Of each slot in ascending positions, and no later
// than the plan that gives it room for a row which needs the token.
struct TokenChange {
  uint32_t slot, position;
  TokenId token;
};

// From `position` on tokens run at most `cap` recursions, until the next cap.
struct DepthCap {
  uint32_t position, cap;
};

// A DepthCap of a slot, never below the slot's room before this plan, and no later than the plan
// that raises the room over it; less than max_positions behind the slot's position, as tokens are.
// It takes the place of all that earlier plans said of later positions. A slot that begins without
// a cap at or before its position has none.
struct CapChange {
  uint32_t slot, position, cap;
};

struct RoomChange {
  uint32_t slot, room;
};

// Selection. EXIT, sampling and ENTRY run if ends > 0 and (at least ends_min rows wait for EXIT or
// ENTRY, or none waits for the block). The slots of each stage form two lists, one of generated
// rows and one of prompt spans, so that neither starves the other. A list looks at all slots in
// slot order, round and round, from its cursor on, and takes those of its kind that wait at the
// stage, until one does not fit; held slots, which have no rows to run, do not count. Each stage
// and kind has a cursor of its own: 0 at first, then the slot that last did not fit. What must fit:
// - the rows of generated tokens under `ends` at EXIT and ENTRY, under `block_rows` in the block;
// - the rows of prompt spans under `prompt_rows` (>= chunk) at each stage;
// - at EXIT rows that want logits, of both lists together, under `ends`: also the last row of a
//   prompt and all rows of a slot with prompt logprobs.
// So one list at EXIT is made first, and the other one has the logits that it leaves: that of the
// generated rows, until the second list has to leave out a slot for want of logits; this list is
// the first one from the next EXIT on. rows.h has these rules as functions.
struct StepPlan {
  uint32_t epoch = 0;        // of the step, counted from 1
  uint32_t ends = 0;         // most generated rows in ENTRY, and rows with logits in EXIT
  uint32_t ends_min = 1;     // policy: 1 depthwise, kEndsWhenBlockEmpty lockstep
  uint32_t block_rows = 0;   // most generated rows in the block
  uint32_t prompt_rows = 0;  // most prompt rows, in each of EXIT, ENTRY and the block
  std::vector<Drop> drops;
  std::vector<Admission> admits;
  std::vector<Evict> evicts;
  std::vector<PageCopy> copies;
  std::vector<PageChange> pages;
  std::vector<TokenChange> tokens;
  std::vector<CapChange> caps;
  std::vector<RoomChange> rooms;
  std::vector<TokenBias> biases;  // of the admissions above
  std::vector<TokenId> stop_ids;  // of the admissions above

  // Empties every list, keeping its memory.
  void Clear() {
    epoch = ends = block_rows = prompt_rows = 0;
    ends_min = 1;
    drops.clear();
    admits.clear();
    evicts.clear();
    copies.clear();
    pages.clear();
    tokens.clear();
    caps.clear();
    rooms.clear();
    biases.clear();
    stop_ids.clear();
  }
};

// ---- StepResult ----

enum StepPart : uint32_t {
  kPartExit,
  kPartSampling,
  kPartEntry,
  kPartBlock,
  kPartRouters,
  kStepParts
};

// Log probability, under the raw logits, of token `id` standing at `position`. For each position
// the token that stands there comes first, then the `logprobs` most likely ones, best first. Those
// of one slot lie together, in position order. With kWantsPromptLogprobs and kNoLogprobs each
// prompt token's own comes alone.
struct TokenLogprob {
  uint32_t slot, position;
  TokenId id;
  float value;
};

// The raw logits of the row at `position` (they speak of position + 1): the next `vocab` floats of
// StepResult::logits.
struct LogitsRow {
  uint32_t slot, position;
};

struct StepResult {
  uint32_t epoch = 0;
  uint64_t part_ns[kStepParts] = {};       // time of each part
  uint64_t attention_ns[kStepParts] = {};  // of these, attention, if the backend tells it apart
  uint32_t part_rows[kStepParts] = {};     // rows that each part ran
  std::vector<Outcome> outcomes;           // one for each slot that ran anything
  std::vector<uint32_t> depths;  // for each outcome with kRanExit, in the outcomes' order: the
                                 // recursions that each row of its span ran
  std::vector<TokenLogprob> logprobs;
  std::vector<LogitsRow> logits_rows;  // tests alone
  std::vector<float> logits;           // [logits_rows][vocab]

  // Empties every list, keeping its memory.
  void Clear() {
    epoch = 0;
    for (uint64_t& ns : part_ns) ns = 0;
    for (uint64_t& ns : attention_ns) ns = 0;
    for (uint32_t& rows : part_rows) rows = 0;
    outcomes.clear();
    depths.clear();
    logprobs.clear();
    logits_rows.clear();
    logits.clear();
  }
};

static_assert(std::is_trivially_copyable_v<SlotState> && std::is_trivially_copyable_v<Admission> &&
              std::is_trivially_copyable_v<Outcome>);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_STEP_H_
