# SPDX-License-Identifier: Apache-2.0
# Copies sources of engine/kv and engine/schedule in which each rule listed below can be broken at run
# time, by the integer recurve::schedule_mutation, so that a test can see that breaking it is noticed.
# The sources themselves know nothing of this.
#
#   cmake -D SOURCE=<project root> -D OUT=<folder> -P mutations.cmake
#
# writes <folder>/<source's name> for each source and <folder>/mutation_names.inc.

set(sources kv/page_tables.cc schedule/boundaries.cc schedule/depth_caps.cc schedule/plan.cc
            schedule/plan_builder.cc schedule/prefix_sharing.cc schedule/prefix_state.cc schedule/schedule.cc
            schedule/schedule_accounts.cc schedule/sequence.cc schedule/stays.cc)
foreach(source ${sources})
  file(READ ${SOURCE}/engine/${source} text_${source})
endforeach()
set(names "")
set(count 0)

# In `source` the text `from`, which occurs there once, becomes `to`. ON stands for "this mutation is
# the one in force". A fifth argument says how many of the loads must fail with it at least, whether
# the backend refuses what they do or not; else one is enough.
function(mutate name source from to)
  math(EXPR number "${count} + 1")
  string(FIND "${text_${source}}" "${from}" first)
  string(FIND "${text_${source}}" "${from}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "${name}: engine/${source} must contain exactly once: ${from}")
  endif()
  string(REPLACE "ON" "(schedule_mutation == ${number})" to "${to}")
  string(REPLACE "${from}" "${to}" text "${text_${source}}")
  set(text_${source} "${text}" PARENT_SCOPE)
  set(count ${number} PARENT_SCOPE)
  set(least 1)
  if(ARGC GREATER 4)
    set(least ${ARGV4})
  endif()
  set(names "${names}{\"${name}\", ${least}},\n" PARENT_SCOPE)
endfunction()

# Pages
mutate("pending entries are not reserved" kv/page_tables.cc
  [[Pending(state, group, shape_)]]
  [[(ON ? 0U : Pending(state, group, shape_))]])
mutate("tokens that may start are not reserved" kv/page_tables.cc
  [[unstarted = room - state.position - state.rows]]
  [[unstarted = ON ? 0U : room - state.position - state.rows]])
mutate("room is raised without pages" schedule/plan.cc
  [[if (fits) RaiseRoom]]
  [[if (fits || ON) RaiseRoom]])
mutate("room is raised before all of its pages are told" schedule/plan_builder.cc
  [[const bool complete = pages && tokens && caps;]]
  [[const bool complete = (pages || ON) && tokens && caps;]])
mutate("room is raised before all of its tokens are told" schedule/plan_builder.cc
  [[if (plan_.tokens.size() >= most_.tokens) return false;]]
  [[if (plan_.tokens.size() >= most_.tokens) return ON;]])
mutate("room is raised before all of its caps are told" schedule/plan_builder.cc
  [[return *stay.told_caps >= room;]]
  [[return ON || *stay.told_caps >= room;]])
mutate("a plan holds more tokens than its limits allow" schedule/plan_builder.cc
  [[for (uint32_t& next = stay.told_tokens; next < last; ++next) {]]
  [[for (uint32_t& next = stay.told_tokens; next < last; ++next) {
    if (ON) {
      plan_.tokens.push_back({sequence.slot, next, sequence.tokens[next]});
      continue;
    }]])
mutate("what a copy is made of is free before the copy is told" kv/page_tables.cc
  [[pool_->Share(found);]]
  [[pool_->Share(ON ? found.first(full[group]) : found);]])
mutate("entries are dropped from pages that were not told" schedule/boundaries.cc
  [[tables_->IsTold(stay.sequence->slot);]]
  [[(ON || tables_->IsTold(stay.sequence->slot));]])
mutate("room is raised past the end" schedule/sequence.cc
  [[std::min({wanted, limits.end,]]
  [[std::min({wanted, ON ? wanted : limits.end,]])
mutate("surplus pages are returned too early" schedule/plan.cc
  [[tables_.Trim(sequence->slot, stay.state, room)]]
  [[tables_.Trim(sequence->slot, stay.state, ON ? stay.state.position + stay.state.rows : room)]])
mutate("pages are not returned when their sequence leaves" schedule/schedule.cc
  [[tables_.Release(sequence.slot);]]
  [[if (!ON) tables_.Release(sequence.slot);]])

# Slots and areas
mutate("drop is missing" schedule/stays.cc
  [[if (stay.state.stage != Stage::kNone)]]
  [[if (!ON && stay.state.stage != Stage::kNone)]])
mutate("outcomes older than the admission are taken for the new sequence's" schedule/stays.cc
  [[return slots_[slot].front();]]
  [[return ON ? slots_[slot].back() : slots_[slot].front();]])
mutate("depths of a sequence that has left are not skipped" schedule/schedule.cc
  [[next += before.rows;]]
  [[if (!ON || stay.sequence != nullptr) next += before.rows;]])
mutate("area is returned while the last chunk needs it" schedule/schedule.cc
  [[if (position >= stay.limits.prompt)]]
  [[if (position + (ON ? stay.limits.chunk : 0) >= stay.limits.prompt)]])

# Preemption and resume
mutate("what the same plan gave a preempted sequence is not taken back" schedule/plan.cc
  [[for (size_t i = 0; i < running_.size(); ++i) {
    const uint32_t slot]]
  [[for (size_t n = 0; n < running_.size(); ++n) {
    const size_t i = ON ? running_.size() - 1 - n : n;
    const uint32_t slot]])
mutate("a plan that preempts admits" schedule/plan.cc
  [[if (!preempted_) AdmitWaiting]]
  [[if (!preempted_ || ON) AdmitWaiting]])
mutate("a resumed sequence forgets what it has generated" schedule/plan.cc
  [[stay.limits.prompt = tokens;]]
  [[stay.limits.prompt = ON ? sequence.prompt : tokens;]])
mutate("a resumed sequence counts its tokens as prompt" schedule/plan_builder.cc
  [[admission.sampling = sample.sampling;]]
  [[admission.sampling = sample.sampling;
  if (ON) admission.sampling.generated += sequence.stats.generated_tokens;]])
mutate("the cap is not sent on resume" schedule/plan_builder.cc
  [[if (room <= position) return true;]]
  [[if (room <= position || (ON && stay.sequence->stats.preemptions > 0)) return true;]])
mutate("the cap in force where a prefix ends is not sent" schedule/plan_builder.cc
  [[if (cap < caps.recursions()) {]]
  [[if (cap < caps.recursions() && (!ON || position == 0)) {]])
mutate("recomputed rows are told again" schedule/sequence.cc
  [[return std::clamp(told_rows, position, last);]]
  [[return ON ? position : std::clamp(told_rows, position, last);]])

mutate("recomputed rows are counted again" schedule/schedule_accounts.cc
  [[const uint32_t first = sequence.FirstUntold(position, last);]]
  [[const uint32_t first = ON ? position : sequence.FirstUntold(position, last);]])

# Eviction
mutate("a span crosses a boundary" schedule/sequence.cc
  [[stay.boundary})]]
  [[ON ? wanted : stay.boundary})]])
mutate("the entries of a preempted sequence are dropped" schedule/plan_builder.cc
  [=[std::erase_if(plan_.evicts, [slot](const Evict& e) { return e.slot == slot; });]=]
  [=[std::erase_if(plan_.evicts, [slot](const Evict& e) { return !ON && e.slot == slot; });]=])
mutate("a resumed sequence does not count its boundaries from the beginning" schedule/plan.cc
  [[stay.boundary = sequence.sample.budget.NextBoundary(0);]]
  [[stay.boundary = sequence.sample.budget.NextBoundary(ON ? sequence.told_rows : 0);]])

# Prefixes
mutate("prefixes are shared by sequences with other caps" schedule/prefix_state.cc
  [[AppendWord(change.cap, realm);]]
  [[AppendWord(ON ? 0U : change.cap, realm);]])
mutate("prefixes are shared by sequences with other thresholds" schedule/prefix_state.cc
  [[AppendWord(sample.threshold_logit, realm);]]
  [[AppendWord(ON ? 0.0F : sample.threshold_logit, realm);]])
mutate("a prefix is shared beyond the first eviction" schedule/prefix_state.cc
  [[state.shareable = sample.budget.NextBoundary(0);]]
  [[state.shareable = ON ? kNoBoundary : sample.budget.NextBoundary(0);]])
mutate("prompts with log probabilities take cached tokens" schedule/prefix_state.cc
  [[state.finds = !sample.prompt_logprobs;]]
  [[state.finds = ON || !sample.prompt_logprobs;]])
mutate("a prefix leaves no token to run" schedule/prefix_sharing.cc
  [[std::min<size_t>(sequence.tokens.size() - 1,]]
  [[std::min<size_t>(sequence.tokens.size() - (ON ? 0 : 1),]])
mutate("a partly filled page is shared" kv/page_tables.cc
  [[full[group] = prefix.count[group] / entries_per_page_[group];]]
  [[full[group] = (prefix.count[group] + (ON ? entries_per_page_[group] - 1 : 0)) /
                  entries_per_page_[group];]])
mutate("entries are dropped from shared pages" schedule/boundaries.cc
  [[if (!OwnsEntriesAlone(stay)) return;]]
  [[if (!ON && !OwnsEntriesAlone(stay)) return;]])
mutate("entries are dropped from pages that the same plan copies" schedule/plan.cc
  [[if (!boundaries_.IsAt(stay)) continue;]]
  [[if (ON && boundaries_.IsAt(stay)) boundaries_.DropEntries(stay, builder_);
    if (!boundaries_.IsAt(stay)) continue;]] 100)
mutate("copies for a preempted sequence are made" schedule/plan_builder.cc
  [[return p.slot == slot && p.page == copy.to;]]
  [[return !ON && p.slot == slot && p.page == copy.to;]])
mutate("the depths of a prefix are not told" schedule/plan.cc
  [[sequence.TellRows(0, prefix.depths, {});]]
  [[if (ON) {
    sequence.told_rows = std::max(sequence.told_rows, prefix.tokens);
  } else {
    sequence.TellRows(0, prefix.depths, {});
  }]])
mutate("whoever waits for a prefix is not called back when it will never come" schedule/schedule.cc
  [[prefixes_.StopLeading(sequence);]]
  [[if (!ON) prefixes_.StopLeading(sequence);]])

# Depth
mutate("the dial lowers tokens that may have begun" schedule/plan.cc
  [[FollowDial(*stay.sequence, stay.limits.room);]]
  [[FollowDial(*stay.sequence, stay.limits.room - (ON && stay.limits.room > 0 ? 1 : 0));]])
mutate("the dial changes caps of which some were told" schedule/plan.cc
  [[if (stay.told_caps <= stay.limits.room)]]
  [[if (ON || stay.told_caps <= stay.limits.room)]])
mutate("a resumed sequence is computed again under the present cap" schedule/sequence.cc
  [[std::max(position, told_rows)]]
  [[(ON ? position : std::max(position, told_rows))]])
mutate("samples that do not allow it are lowered" schedule/sequence.cc
  [[const auto& least = sample.adaptive_min;]]
  [[const auto& least = ON ? std::optional<uint32_t>(1) : sample.adaptive_min;]])
mutate("samples are lowered below what they allow" schedule/sequence.cc
  [[std::max(cap, *least)]]
  [[(ON ? cap : std::max(cap, *least))]])
mutate("the dial raises a sample's own cap" schedule/depth_caps.cc
  [[std::min(OwnAt(position), CapAt(limits_, position, recursions_))]]
  [[std::min(ON ? recursions_ : OwnAt(position), CapAt(limits_, position, recursions_))]])
mutate("a prefix is stored beyond the first lowered cap" schedule/sequence.cc
  [[return std::min(prefix_state.stores, caps.FirstLowered());]]
  [[return ON ? prefix_state.stores : std::min(prefix_state.stores, caps.FirstLowered());]])

# Prompts and order
mutate("the token after the room is not sent" schedule/plan_builder.cc
  [[std::min(room + 1, stay.limits.prompt)]]
  [[std::min(room + (ON ? 0 : 1), stay.limits.prompt)]])
mutate("chunk with prompt log probabilities exceeds ends" schedule/plan.cc
  [[if (sequence.WantsPromptLogprobs()) {]]
  [[if (!ON && sequence.WantsPromptLogprobs()) {]])
mutate("stop strings are not heard" schedule/schedule.cc
  [[if (stop_string)]]
  [[if (!ON && stop_string)]])
mutate("the queue is last in, first out" schedule/schedule.cc
  [[queue_.Add(&sequence);]]
  [[ON ? queue_.Return(&sequence) : queue_.Add(&sequence);]])
mutate("the time in the queue counts on after it" schedule/sequence.cc
  [[if (!stats.admitted.has_value()) at_most]]
  [[if (ON || !stats.admitted.has_value()) at_most]])
mutate("preemptions are not bounded" schedule/sequence.cc
  [[return stats.preemptions < max_preemptions;]]
  [[return ON || stats.preemptions < max_preemptions;]])

foreach(source ${sources})
  get_filename_component(name ${source} NAME)
  file(WRITE ${OUT}/${name} "namespace recurve { extern int schedule_mutation; }\n${text_${source}}")
endforeach()
file(WRITE ${OUT}/mutation_names.inc "${names}")
