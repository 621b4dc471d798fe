# SPDX-License-Identifier: Apache-2.0
# The rules of the planner and of what blocks of all kernels share, for mutations.cmake, which includes this file.

# What threads of a block do together
mutate("a reduction begins before all values are there" planner block.h
  [[scratch[simt::ThreadIndex() / simt::kWarp] = value;
  simt::SyncBlock();]]
  [[scratch[simt::ThreadIndex() / simt::kWarp] = value;
  if (!ON) simt::SyncBlock();]])
mutate("a reduction leaves out half of a warp" planner block.h
  [[for (uint32_t step = simt::kWarp / 2; step > 0; step /= 2)]]
  [[for (uint32_t step = simt::kWarp / (ON ? 4 : 2); step > 0; step /= 2)]])
mutate("a reduction ends before all have read it" planner block.h
  [[const T of_warp = scratch[lane < warps ? lane : 0];
  simt::SyncBlock();]]
  [[const T of_warp = scratch[lane < warps ? lane : 0];
  if (!ON) simt::SyncBlock();]])
mutate("a reduction leaves out the last warp" planner block.h
  [[return WarpReduce(of_warp, op, warps);]]
  [[return WarpReduce(of_warp, op, ON && warps > 1 ? warps - 1 : warps);]])
mutate("a scan begins before all values are there" planner block.h
  [[scratch[warp] = sums.all;
  simt::SyncBlock();]]
  [[scratch[warp] = sums.all;
  if (!ON) simt::SyncBlock();]])
mutate("a scan ends before all have read it" planner block.h
  [[const T before = lane < warp ? scratch[lane] : T{0};
  simt::SyncBlock();]]
  [[const T before = lane < warp ? scratch[lane] : T{0};
  if (!ON) simt::SyncBlock();]])
mutate("a scan leaves out the warps before" planner block.h
  [[return WarpSum(before) + sums.up_to_own;]]
  [[return (ON ? T{0} : WarpSum(before)) + sums.up_to_own;]])
mutate("a scan leaves out a round within the warp" planner block.h
  [[for (uint32_t step = 1; step < simt::kWarp; step *= 2)]]
  [[for (uint32_t step = 1; step < simt::kWarp / (ON ? 2 : 1); step *= 2)]])

# Who takes part
mutate("places of rows are read before they are written" planner slot_planner.h
  [[if (thread_ + 1 == simt::BlockSize()) words_[0] = end;
    simt::SyncBlock();]]
  [[if (thread_ + 1 == simt::BlockSize()) words_[0] = end;
    if (!ON) simt::SyncBlock();]])
mutate("a list is gone on from before it is complete" planner slot_planner.h
  [[body(chosen_[k], place - offsets_[k], place);
    }
    simt::SyncBlock();]]
  [[body(chosen_[k], place - offsets_[k], place);
    }
    if (!ON) simt::SyncBlock();]])
mutate("who is left out keeps no cursor" planner slot_planner.h
  [[cursor = id;]]
  [[if (!ON) cursor = id;]])
mutate("lists begin at slot 0" planner slot_planner.h
  [[const uint32_t id = (cursor + thread_) % sizes_.slots;]]
  [[const uint32_t id = ((ON ? 0 : cursor) + thread_) % sizes_.slots;]])
mutate("the first that does not fit takes part" planner slot_planner.h
  [[const bool takes_part = need.rows > 0 && fits;]]
  [[const bool takes_part = need.rows > 0 && (fits || (ON && Fits(CountsOf(sums - own), left)));]])
mutate("whatever does not fit takes part" planner slot_planner.h
  [[const bool fits = Fits(CountsOf(sums), left);]]
  [[const bool fits = ON || Fits(CountsOf(sums), left);]])
mutate("a cap of rows is one less" planner slot_planner.h
  [[ChooseKind(stage, first, left);
    left.rows]]
  [[if (ON && left.rows > 0) --left.rows;
    ChooseKind(stage, first, left);
    left.rows]])
mutate("rows with logits are not counted" planner slot_planner.h
  [[const uint64_t own = need.rows | uint64_t{need.logits} << 32;]]
  [[const uint64_t own = need.rows | uint64_t{ON ? 0 : need.logits} << 32;]])
mutate("the second list has all logits again" planner slot_planner.h
  [[left.logits -= taken.logits;]]
  [[if (!ON) left.logits -= taken.logits;]])
mutate("the second list has the rows that the first one left" planner slot_planner.h
  [[left.rows = CapsOf(caps, stage, Other(first)).rows;]]
  [[if (!ON) left.rows = CapsOf(caps, stage, Other(first)).rows;]])
mutate("a row belongs to the slot behind its own" planner slot_planner.h
  [[if (offsets_[middle] <= place) {]]
  [[if (offsets_[middle] <= place + (ON ? 1 : 0)) {]])
mutate("who had no logits is not told" planner slot_planner.h
  [[words_[0] = CountsOf(sums).logits <= left.logits ? 1 : 0;]]
  [[words_[0] = ON || CountsOf(sums).logits <= left.logits ? 1 : 0;]])
mutate("what a list takes is read before it is there" planner slot_planner.h
  [[words_[1] = rank;
    }
    simt::SyncBlock();]]
  [[words_[1] = rank;
    }
    if (!ON) simt::SyncBlock();]])
mutate("the next list begins before all know what this one took" planner slot_planner.h
  [[left.logits -= taken.logits;
    simt::SyncBlock();]]
  [[left.logits -= taken.logits;
    if (!ON) simt::SyncBlock();]])

# The planner up to EXIT
mutate("admissions do not wait for what was before" models planner_exit.cu
  [[AdmitKernel(const PlannerArgs args) {
  simt::GridWait();]]
  [[AdmitKernel(const PlannerArgs args) {
  if (!ON) simt::GridWait();]])
mutate("EXIT is planned without waiting" models planner_exit.cu
  [[PlanExitKernel(const PlannerArgs args) {
  simt::GridWait();]]
  [[PlanExitKernel(const PlannerArgs args) {
  if (!ON) simt::GridWait();]])
mutate("drops come after admissions" planner planner_exit.cu
  [[AdmitOne(planner, args, admits[i]);
}]]
  [[AdmitOne(planner, args, admits[i]);
  simt::SyncBlock();
  for (uint32_t i = thread; ON && i < planner.header().drops.count; i += simt::BlockSize()) {
    args.slots.records.Edit(drops[i].slot).state.stage = Stage::kNone;
  }
}]])
mutate("drops and admissions of a plan meet" planner planner_exit.cu
  [[state.stage = Stage::kNone;
  }
  simt::SyncBlock();]]
  [[state.stage = Stage::kNone;
  }
  if (!ON) simt::SyncBlock();]])
mutate("an admission keeps the old caps" planner planner_exit.cu
  [[args.slots.cap_rings.Set(slot, {});]]
  [[if (!ON) args.slots.cap_rings.Set(slot, {});]])
mutate("an admission keeps the old biases' number" planner planner_exit.cu
  [[args.slots.bias_counts.Set(slot, admission.bias_count);]]
  [[if (!ON) args.slots.bias_counts.Set(slot, admission.bias_count);]])
mutate("an admission takes the first biases of its plan" planner planner_exit.cu
  [=[biases[admission.bias_begin + i]]=]
  [=[biases[(ON ? 0 : admission.bias_begin) + i]]=])
mutate("an admission takes the first stop ids of its plan" planner planner_exit.cu
  [=[stop_ids[admission.stop_begin + i]]=]
  [=[stop_ids[(ON ? 0 : admission.stop_begin) + i]]=])
mutate("an admission keeps the old counts of tokens" planner planner_exit.cu
  [[args.slots.token_counts.Set(size_t{slot} * sizes.vocab + id, 0);]]
  [[if (!ON || slot == 0) args.slots.token_counts.Set(size_t{slot} * sizes.vocab + id, 0);]])
mutate("an admission keeps the old attention mass" planner planner_exit.cu
  [[i < masses; i += threads)]]
  [[i < masses / (ON ? 2 : 1); i += threads)]])
mutate("tokens of the prompt count as generated" planner planner_exit.cu
  [[if (position >= args.slots.records[slot].sampling.generated)]]
  [[if (ON || position >= args.slots.records[slot].sampling.generated)]])
mutate("a token of the span in flight is counted when it is told" planner planner_exit.cu
  [[if (change.position < slot.state.position &&]]
  [[if (change.position < slot.state.position + (ON ? 1 : 0) &&]])
mutate("caps of later positions stay" caps planner_exit.cu
  [[while (at.count > 0 && ring[element(at.count - 1)].position >= cap.position)]]
  [[while (at.count > 0 && ring[element(at.count - 1)].position >= cap.position + (ON ? 1 : 0))]])
mutate("the cap of the span in flight is forgotten" caps planner_exit.cu
  [[while (at.count > 1 && ring[element(1)].position <= position)]]
  [[while (at.count > (ON ? 0 : 1) && ring[element(ON ? 0 : 1)].position <= position)]])
mutate("a change of caps is not kept" caps planner_exit.cu
  [[args.slots.cap_rings.Set(run.slot, at);]]
  [[if (!ON) args.slots.cap_rings.Set(run.slot, at);]])
mutate("a ring of caps ends where its memory does" caps planner_exit.cu
  [[return (at.first + i) % max_caps;]]
  [[return ON && at.first + i >= max_caps ? max_caps - 1 : (at.first + i) % max_caps;]])
mutate("an eviction leaves the count" planner planner_exit.cu
  [[.state.count[evicts[i].group] = evicts[i].keep;]]
  [[.state.count[evicts[i].group] = ON ? evicts[i].count : evicts[i].keep;]])
mutate("rows are listed before all changes are made" planner planner_exit.cu
  [[.limits.room = rooms[i].room;
  }
  simt::SyncBlock();]]
  [[.limits.room = rooms[i].room;
  }
  if (!ON) simt::SyncBlock();]])
mutate("rooms are not raised" planner planner_exit.cu
  [[.limits.room = rooms[i].room;]]
  [[.limits.room += ON ? 0 : rooms[i].room - args.slots.records[rooms[i].slot].limits.room;]])
mutate("who waits for ENTRY does not count for ends_min" planner planner_exit.cu
  [[+ NeedOf(slot, Stage::kEntry).rows;]]
  [[+ (ON ? 0 : NeedOf(slot, Stage::kEntry).rows);]])
mutate("outcomes of the last step stay" planner planner_exit.cu
  [[args.lists.outcomes.Set(thread, {.slot = thread});]]
  [[if (!ON || planner.header().epoch % 4 == 1) args.lists.outcomes.Set(thread, {.slot = thread});]])
mutate("the same list goes first at EXIT again" planner planner_exit.cu
  [[selection.first_at_exit = Other(first);]]
  [[selection.first_at_exit = ON ? first : Other(first);]])
mutate("the counts of a step without ends are those of the last" planner planner_exit.cu
  [[if (thread == 0) args.lists.counts.Set(0, counts);]]
  [[if (thread == 0 && (!ON || counts.ends_run != 0)) args.lists.counts.Set(0, counts);]])
mutate("penalties do not count the span" planner planner_exit.cu
  [[if (token < args.sizes.vocab) CountToken]]
  [[if (token < args.sizes.vocab && (!ON || i > 0)) CountToken]])

# The planner up to the block
mutate("the block is planned without waiting" models planner_block.cu
  [[PlanBlockKernel(const PlanBlockArgs args) {
  simt::GridWait();]]
  [[PlanBlockKernel(const PlanBlockArgs args) {
  if (!ON) simt::GridWait();]])
mutate("outcomes are read before all verdicts are there" broken planner_block.cu
  [[kFlags, verdict.flags);
  }
  simt::SyncBlock();]]
  [[kFlags, verdict.flags);
  }
  if (!ON) simt::SyncBlock();]])
mutate("a sequence without finite logits goes on" broken planner_block.cu
  [[if ((outcome.flags & kNotFinite) != 0)]]
  [[if (!ON && (outcome.flags & kNotFinite) != 0)]])
mutate("a stop id does not end its slot" planner planner_block.cu
  [[if (verdict.flags != 0)]]
  [[if (!ON && verdict.flags != 0)]])
mutate("the sampled token stands a place later" planner planner_block.cu
  [[const uint32_t next = slot.state.position + slot.state.rows;]]
  [[const uint32_t next = slot.state.position + slot.state.rows + (ON ? 1 : 0);]])
mutate("rows begin with the depth of the span before" planner planner_block.cu
  [[slots.row_depth.Set(size_t{id} * sizes.chunk + i, 0);]]
  [[if (!ON || sizes.chunk == 1) slots.row_depth.Set(size_t{id} * sizes.chunk + i, 0);]])
mutate("the block is listed before all have entered" planner planner_block.cu
  [[outcome.rows = entered.rows;
  }
  simt::SyncBlock();]]
  [[outcome.rows = entered.rows;
  }
  if (!ON) simt::SyncBlock();]])
mutate("the rows that entered are not told" planner planner_block.cu
  [[outcome.rows = entered.rows;
  }]]
  [[outcome.rows = ON ? 1 : entered.rows;
  }]])
mutate("router scores of recursion 2 are not kept" planner planner_block.cu
  [[if (row.recursion < 2 ||]]
  [[if (row.recursion < (ON ? 3 : 2) ||]])
mutate("a router score goes to the entry's neighbour" planner planner_block.cu
  [[size_t{place.page} * args.page_capacity + place.entry,]]
  [[size_t{place.page} * args.page_capacity + (place.entry + (ON ? 1 : 0)) % args.page_capacity,]])
mutate("ranges of recursions hold the rows before them" planner planner_block.cu
  [[told.recursions[recursion - 1] = {first,]]
  [[told.recursions[recursion - 1] = {ON ? 0 : first,]])
mutate("a recursion with rows is taken for empty" planner planner_block.cu
  [[const bool has_rows = (used >> recursion) % 2 != 0;]]
  [[const bool has_rows = (used >> recursion) % 2 != 0 && !(ON && recursion > 2);]])
mutate("every block row of a slot is its first" planner planner_block.cu
  [[if (i == 0) args]]
  [[if (ON || i == 0) args]])

# The planner's result
mutate("the result is written without waiting" models planner_publish.cu
  [[PublishKernel(const PublishArgs args) {
  simt::GridWait();]]
  [[PublishKernel(const PublishArgs args) {
  if (!ON) simt::GridWait();]])
mutate("depths are those of the first recursion" planner planner_publish.cu
  [[if (is_row) ++args.slots.row_depth.Edit(first + row);]]
  [[if (is_row) args.slots.row_depth.Edit(first + row) = ON ? 1 : args.slots.row_depth[first + row] + 1;]])
mutate("a row takes its neighbour's verdict" planner planner_publish.cu
  [[args.lists.passes[place] != 0]]
  [[args.lists.passes[ON && place > 0 ? place - 1 : place] != 0]])
mutate("rows move up before all know where those of their slot begin" planner planner_publish.cu
  [[passed.ends[slot] = end;
    simt::SyncBlock();]]
  [[passed.ends[slot] = end;
    if (!ON) simt::SyncBlock();]])
mutate("active rows are not moved up" planner planner_publish.cu
  [[args.slots.active.Set(first + before - passed.begins[slot], row);]]
  [[args.slots.active.Set(first + before - passed.begins[slot], ON ? args.slots.active[first] : row);]])
mutate("rows of log probabilities are as long as they may be" planner planner_publish.cu
  [[return step.verdicts[first + k].logprobs; }]]
  [[return ON ? args.row_logprobs : step.verdicts[first + k].logprobs; }]])
mutate("raw logits are those of the row before" planner planner_publish.cu
  [=[args.logits[size_t{first + k} * vocab + i]]=]
  [=[args.logits[size_t{first + (ON && k > 0 ? k - 1 : k)} * vocab + i]]=])
mutate("a result takes the place of the one before" planner planner_publish.cu
  [[const auto result = args.result.Part(size_t{epoch % 2} *]]
  [[const auto result = args.result.Part(size_t{(epoch + (ON ? 1 : 0)) % 2} *]])

# Tables
mutate("the page of an entry at its boundary is the one before" planner step_tables.h
  [[const uint32_t index = entry / per_page;]]
  [[const uint32_t index = (ON && entry > 0 ? entry - 1 : entry) / per_page;]])
mutate("all groups have the pages of one" planner step_tables.h
  [[return (size_t{slot} * sizes.groups + group) * sizes.group_pages + index;]]
  [[return (size_t{slot} * sizes.groups + (ON ? 0 : group)) * sizes.group_pages + index;]])
mutate("a ring of caps begins at its first element" caps step_tables.h
  [[return ring[(first + i) % max_caps];]]
  [[return ring[((ON ? 0 : first) + i) % max_caps];]])
