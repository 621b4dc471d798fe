# SPDX-License-Identifier: Apache-2.0
# Copies sources of engine/backend/cuda in which each rule listed below can be broken at run time, by the integer
# recurve::cuda_mutation, so that a test can see that breaking it is noticed. The sources themselves know nothing of this.
#
#   cmake -D SOURCE=<project root> -D OUT=<folder> -P mutations.cmake
#
# writes <folder>/engine/backend/cuda/<source> for each source with a rule and <folder>/mutation_names.inc.

set(sources attention_bf16.cu attention_block.h attention_chain.h attention_f32.cu attention_split.h attention_sums.h block.h hidden_rows.cu layers_bf16.cc linear_bf16.cu
            linear_f32.cu packed_matrix.cc page_changes.cu planner_block.cu planner_exit.cu planner_publish.cu product_bf16.h
            query_vectors.h residual.h rotary.h router.cu row_sampler.h sample.cu slot_planner.h softmax_state.h step_tables.h tensor_core.h)
foreach(source ${sources})
  file(READ ${SOURCE}/engine/backend/cuda/${source} text_${source})
endforeach()
set(names "")
set(count 0)

# In `source` the text `from`, which occurs there once, becomes `to`. ON stands for "this mutation is the one in force".
# `check` says which loads of planner_load.h (planner, broken, caps), model_load.h (models) or page_load.h (pages) must notice, or
# digests of tools/gpu_check (bits).
function(mutate name check source from to)
  math(EXPR number "${count} + 1")
  string(FIND "${text_${source}}" "${from}" first)
  string(FIND "${text_${source}}" "${from}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "${name}: engine/backend/cuda/${source} must contain exactly once: ${from}")
  endif()
  string(REPLACE "ON" "(recurve::cuda_mutation == ${number})" to "${to}")
  string(REPLACE "${from}" "${to}" text "${text_${source}}")
  set(text_${source} "${text}" PARENT_SCOPE)
  set(count ${number} PARENT_SCOPE)
  set(names "${names}{\"${source}\", \"${name}\", Check::${check}},\n" PARENT_SCOPE)
endfunction()

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

# Hidden rows
mutate("rows are loaded without waiting" models hidden_rows.cu
  [[LoadRowsKernel(const LoadRowsArgs args) {
  simt::GridWait();]]
  [[LoadRowsKernel(const LoadRowsArgs args) {
  if (!ON) simt::GridWait();]])
mutate("rows are stored without waiting" models hidden_rows.cu
  [[StoreRowsKernel(const StoreRowsArgs args) {
  simt::GridWait();]]
  [[StoreRowsKernel(const StoreRowsArgs args) {
  if (!ON) simt::GridWait();]])
mutate("the embedding is that of the token before" models hidden_rows.cu
  [[+ row.position % sizes.max_positions];]]
  [[+ (row.position - (ON && row.position > 0 ? 1 : 0)) % sizes.max_positions];]])
mutate("token-choice goes on from what entered" models hidden_rows.cu
  [[from.has_stream && row.recursion > 1;]]
  [[from.has_stream && row.recursion > (ON ? 2 : 1);]])

# Products
mutate("a product does not wait" models linear_f32.cu
  [[                                Body body) {
  simt::GridWait();]]
  [[                                Body body) {
  if (!ON) simt::GridWait();]])
mutate("inputs are overwritten while they are read" models linear_f32.cu
  [[simt::SyncBlock();  // nobody reads the row before any more]]
  [[if (!ON) simt::SyncBlock();  // nobody reads the row before any more]])
mutate("inputs are read before they are there" models linear_f32.cu
  [[* inputs_ + k] : 0.0F;
    }
    simt::SyncBlock();]]
  [[* inputs_ + k] : 0.0F;
    }
    if (!ON) simt::SyncBlock();]])
mutate("the pad of a slice is not zero" models linear_f32.cu
  [[* inputs_ + k] : 0.0F;]]
  [[* inputs_ + k] : (ON ? x_[k] : 0.0F);]])
mutate("the last slice is left out" models linear_f32.cu
  [[for (uint32_t slice = 0; slice < padded_; slice += kSliceInputs) {]]
  [[for (uint32_t slice = 0; slice < (ON ? padded_ - kSliceInputs : padded_); slice += kSliceInputs) {]])
mutate("a product adds its pairs the other way round" models linear_f32.cu
  [[kSliceInputs, [&](uint32_t k) { return x_[slice + k]; },
          [&](uint32_t k) {
            const uint32_t input = slice + k;]]
  [[kSliceInputs, [&](uint32_t k) { return x_[slice + (ON ? kSliceInputs - 1 - k : k)]; },
          [&](uint32_t k) {
            const uint32_t input = slice + (ON ? kSliceInputs - 1 - k : k);]])
mutate("a norm adds up one lane after the other" models linear_f32.cu
  [[for (uint32_t l = 0; l < kLanes; ++l) lanes[l] = lanes_[l];
    const float inverse = InverseRms(AddLanes(lanes),]]
  [[for (uint32_t l = 0; l < kLanes; ++l) lanes[l] = lanes_[l];
    for (uint32_t l = 1; ON && l < kLanes; ++l) {
      lanes[0] += lanes[l];
      lanes[l] = 0.0F;
    }
    const float inverse = InverseRms(AddLanes(lanes),]])
mutate("a norm is taken before its lanes are there" models linear_f32.cu
  [[lanes_[thread] = lane;
    }
    simt::SyncBlock();]]
  [[lanes_[thread] = lane;
    }
    if (!ON) simt::SyncBlock();]])
mutate("a row is multiplied before its norm is taken" models linear_f32.cu
  [[x_[k] * inverse * norm.gamma[k];
    }
    simt::SyncBlock();]]
  [[x_[k] * inverse * norm.gamma[k];
    }
    if (!ON) simt::SyncBlock();]])
mutate("all recursions use the first one's weights" models linear_f32.cu
  [[return size_t{product.rows[row].recursion - 1} *]]
  [[return size_t{ON ? 0 : product.rows[row].recursion - 1} *]])
mutate("positions beyond the table of angles begin anew" models rotary.h
  [[return OfAngle(position * frequencies[pair]);]]
  [[return OfAngle((ON ? position % tabled_positions : position) * frequencies[pair]);]])
mutate("values are rotated too" models linear_f32.cu
  [[if (!is_value) {]]
  [[if (ON || !is_value) {]])
mutate("an entry keeps the position of who had its place" models linear_f32.cu
  [[if (is_value && kv_head == 0 && pair == 0) {]]
  [[if (is_value && kv_head == 0 && pair == 0 && (!ON || row.position < 20)) {]])

# Attention
mutate("attention does not wait" models attention_f32.cu
  [[AttentionKernel(const AttentionArgs args) {
  simt::GridWait();]]
  [[AttentionKernel(const AttentionArgs args) {
  if (!ON) simt::GridWait();]])
mutate("a row does not see itself" models attention_f32.cu
  [[if (row.visible > args.sizes.max_positions) row.visible = args.sizes.max_positions;]]
  [[if (ON && row.visible > 1) --row.visible;]])
mutate("places of entries are read before they are there" models attention_f32.cu
  [[places_.Set(t, KeyOf(row, group, t, kv_head));
    }
    simt::SyncBlock();]]
  [[places_.Set(t, KeyOf(row, group, t, kv_head));
    }
    if (!ON) simt::SyncBlock();]])
mutate("probabilities are added up before they are there" models attention_f32.cu
  [[p_.Set(t, Exp(p_[t] - largest));
    }
    simt::SyncBlock();]]
  [[p_.Set(t, Exp(p_[t] - largest));
    }
    if (!ON) simt::SyncBlock();]])
mutate("the next head begins before this one is read" models attention_f32.cu
  [[args_.y.Set(first + d, sum * inverse);
    }
    simt::SyncBlock();]]
  [[args_.y.Set(first + d, sum * inverse);
    }
    if (!ON) simt::SyncBlock();]])
mutate("lanes of probabilities are read before they are there" models attention_f32.cu
  [[lanes_[thread] = lane;
    }
    simt::SyncBlock();]]
  [[lanes_[thread] = lane;
    }
    if (!ON) simt::SyncBlock();]])
mutate("a score adds its pairs the other way round" models attention_f32.cu
  [[return args_.q[first + d]; },
          [&](uint32_t d) { return args_.pages[key + d]; });]]
  [[return args_.q[first + (ON ? head_dim - 1 - d : d)]; },
          [&](uint32_t d) { return args_.pages[key + (ON ? head_dim - 1 - d : d)]; });]])
mutate("values are added from the last entry on" models attention_f32.cu
  [[row.visible, [&](uint32_t t) { return p_[t]; },
          [&](uint32_t t) { return args_.pages[places_[t] + values + d]; });]]
  [[row.visible, [&](uint32_t t) { return p_[ON ? row.visible - 1 - t : t]; },
          [&](uint32_t t) {
            return args_.pages[places_[ON ? row.visible - 1 - t : t] + values + d];
          });]])
mutate("probabilities are summed in another order" models attention_f32.cu
  [[for (uint32_t t = thread; t < entries; t += kLanes) lane += p_[t];]]
  [[for (uint32_t t = thread; t < entries; t += kLanes) {
        lane += p_[ON ? entries - 1 - t : t];
      }]])
mutate("heads take turns with the keys" models attention_f32.cu
  [[kv_head * heads + h) * layout_.head_dim;]]
  [[(ON ? h * layout_.kv_heads + kv_head : kv_head * heads + h)) * layout_.head_dim;]])
mutate("a row's own entry is not laid over" models attention_f32.cu
  [[e <= row.entry; e += simt::BlockSize()]]
  [[e < row.entry + (ON ? 0 : 1); e += simt::BlockSize()]])
mutate("attention mass goes to the first group" models attention_f32.cu
  [[(size_t{row.slot} * args_.sizes.groups + row.group) * args_.sizes.max_positions;
    for]]
  [[(size_t{row.slot} * args_.sizes.groups + (ON ? 0 : row.group)) * args_.sizes.max_positions;
    for]])
mutate("attention mass is not divided by its sum" models attention_f32.cu
  [[MassShare(p_[t], inverse)]]
  [[MassShare(p_[t], ON ? 1.0F : inverse)]])

# Routers
mutate("routers do not wait" models router.cu
  [[RouterKernel(const RouterArgs args) {
  simt::GridWait();]]
  [[RouterKernel(const RouterArgs args) {
  if (!ON) simt::GridWait();]])
mutate("a router's inputs are read before they are there" models router.cu
  [[/ temperature : 0.0F; });
    simt::SyncBlock();]]
  [[/ temperature : 0.0F; });
    if (!ON) simt::SyncBlock();]])
mutate("a router's pad is not zero" models router.cu
  [[/ temperature : 0.0F;]]
  [[/ temperature : (ON ? input_[i] : 0.0F);]])
mutate("temperature is ignored" models router.cu
  [[i < hidden_ ? h / temperature]]
  [[i < hidden_ ? h / (ON ? 1.0F : temperature)]])
mutate("a router's lanes are added up to half" models router.cu
  [[for (uint32_t width = kLanes / 2; width > 0; width /= 2) {]]
  [[for (uint32_t width = kLanes / 2; width > (ON ? 1 : 0); width /= 2) {]])
mutate("a router's logit is read before it is there" models router.cu
  [[logits_[output] = sum;
    }
    simt::SyncBlock();]]
  [[logits_[output] = sum;
    }
    if (!ON) simt::SyncBlock();]])
mutate("caps are ignored" models router.cu
  [[return CapOfRow(args_.slots, args_.sizes, row_.slot, row_.position);]]
  [[return ON ? kMaxGroups : CapOfRow(args_.slots, args_.sizes, row_.slot, row_.position);]])
mutate("a cap is that of the position before" models router.cu
  [[args_.sizes, row_.slot, row_.position);]]
  [[args_.sizes, row_.slot, row_.position - (ON && row_.position > 0 ? 1 : 0));]])
mutate("thresholds are ignored" models router.cu
  [[const float threshold = args_.slots.records[row_.slot].threshold_logit;]]
  [[const float threshold = ON ? 0.0F : args_.slots.records[row_.slot].threshold_logit;]])
mutate("the gate is the next recursion's" models router.cu
  [[if (thread == 0) args_.gate.Set(row_.hidden, logits_[0]);]]
  [[if (thread == 0) args_.gate.Set(row_.hidden, ON ? 0.1F : logits_[0]);]])
mutate("the last recursion decides nothing" models router.cu
  [[SetPasses(false);]]
  [[if (!ON) SetPasses(false);]])
mutate("router scores are those of who was there before" models router.cu
  [[if (thread == 0) args_.score.Set(row_.hidden, z);]]
  [[if (thread == 0 && (!ON || row_.recursion > 1)) args_.score.Set(row_.hidden, z);]])
mutate("the bias of depths is ignored" models router.cu
  [[args_.has_bias != 0 ? bias : nullptr]]
  [[args_.has_bias != 0 && !ON ? bias : nullptr]])

# Sampling
mutate("sampling does not wait" models sample.cu
  [[SampleKernel(const SampleArgs args) {
  simt::GridWait();]]
  [[SampleKernel(const SampleArgs args) {
  if (!ON) simt::GridWait();]])
mutate("infinite logits are sampled" models sample.cu
  [[if (largest == RowSampler::kNoRank) {]]
  [[if (!ON && largest == RowSampler::kNoRank) {]])
mutate("stop ids are not told" models sample.cu
  [[verdict.flags = kStopId;]]
  [[verdict.flags = ON ? 0 : kStopId;]])
mutate("a log probability is that of the token before" models sample.cu
  [[const uint32_t next = (row.position + 1) % args.sizes.max_positions;]]
  [[const uint32_t next = (row.position + (ON ? 0 : 1)) % args.sizes.max_positions;]])
mutate("the most likely token is told again and again" models sample.cu
  [[if (i > 0) last]]
  [[if (i > 0 && !ON) last]])
mutate("of equal logits the higher id wins" models row_sampler.h
  [[| (0xFFFFFFFFU - id);
  }
  RECURVE_DEVICE static uint32_t IdOf(uint64_t rank) {
    return 0xFFFFFFFFU - static_cast<uint32_t>(rank);]]
  [[| (ON ? id : 0xFFFFFFFFU - id);
  }
  RECURVE_DEVICE static uint32_t IdOf(uint64_t rank) {
    return ON ? static_cast<uint32_t>(rank) : 0xFFFFFFFFU - static_cast<uint32_t>(rank);]])
mutate("stop ids are kept away for a token longer" models row_sampler.h
  [[bool masks = position < params.min_end;]]
  [[bool masks = position < params.min_end + (ON ? 1 : 0);]])
mutate("stop ids are never kept away" models row_sampler.h
  [[if (masks) MaskStopIds(slot);]]
  [[if (masks && !ON) MaskStopIds(slot);]])
mutate("nothing is left where every token is a stop id" models row_sampler.h
  [[if (IsFinite(sampled_[largest])) break;]]
  [[if (ON || IsFinite(sampled_[largest])) break;]])
mutate("penalties are ignored" models row_sampler.h
  [[if (count != 0) logit = Penalize]]
  [[if (!ON && count != 0) logit = Penalize]])
mutate("penalties count the mark of a token that was seen" models row_sampler.h
  [[count & ~kSeenToken);]]
  [[ON ? count : count & ~kSeenToken);]])
mutate("of several biases the first one counts alone" models row_sampler.h
  [[for (uint32_t j = i; j < count; ++j) {]]
  [[for (uint32_t j = i; j < (ON ? i + 1 : count); ++j) {]])
mutate("biases of a token are added once for each" models row_sampler.h
  [[if (!is_first) continue;]]
  [[if (!ON && !is_first) continue;]])
mutate("top-k keeps all equal ones" models row_sampler.h
  [[(r == prefix && id <= last);]]
  [[(r == prefix && (ON || id <= last));]])
mutate("top-p is ignored" models row_sampler.h
  [[if (params.top_p < 1.0F) {]]
  [[if (!ON && params.top_p < 1.0F) {]])
mutate("min-p is ignored" models row_sampler.h
  [[if (params.min_p > 0.0F) {]]
  [[if (!ON && params.min_p > 0.0F) {]])
mutate("a filter's digits are filled before they are clear" models row_sampler.h
  [[d += simt::BlockSize()) mass_[d] = 0;
      simt::SyncBlock();]]
  [[d += simt::BlockSize()) mass_[d] = 0;
      if (!ON) simt::SyncBlock();]])
mutate("a filter's digits hold the mass of the round before" models row_sampler.h
  [[d += simt::BlockSize()) mass_[d] = 0;]]
  [[d += simt::BlockSize()) mass_[d] = ON && shift < 24 ? mass_[d] : 0;]])
mutate("a filter's digit is read before it is found" models row_sampler.h
  [[FindDigit(prefix, target);
      simt::SyncBlock();]]
  [[FindDigit(prefix, target);
      if (!ON) simt::SyncBlock();]])
mutate("the drawn token is the one before" models row_sampler.h
  [[while (target - before >= value(id)) before]]
  [[while (target - before >= value(id) + (ON ? 100'000'000U : 0)) before]])
mutate("the drawn token is read before it is found" models row_sampler.h
  [[found_[0] = id;
    }
    simt::SyncBlock();]]
  [[found_[0] = id;
    }
    if (!ON) simt::SyncBlock();]])
mutate("the seed's upper half is ignored" models row_sampler.h
  [[DrawTarget(params.seed_low, params.seed_high,]]
  [[DrawTarget(params.seed_low, ON ? 0 : params.seed_high,]])

# Evictions and copies
mutate("evictions do not wait" models page_changes.cu
  [[EvictKernel(const EvictArgs args) {
  simt::GridWait();]]
  [[EvictKernel(const EvictArgs args) {
  if (!ON) simt::GridWait();]])
mutate("copies do not wait" models page_changes.cu
  [[CopyPagesKernel(const CopyPagesArgs args) {
  simt::GridWait();]]
  [[CopyPagesKernel(const CopyPagesArgs args) {
  if (!ON) simt::GridWait();]])
mutate("of equal scores the earlier entries stay" pages page_changes.cu
  [[positions_[other] > positions_[e]);]]
  [[(ON ? positions_[other] < positions_[e] : positions_[other] > positions_[e]));]])
mutate("entries are judged before all are loaded" pages page_changes.cu
  [[e < evict_.count; e += simt::BlockSize()) body(e);
    simt::SyncBlock();]]
  [[e < evict_.count; e += simt::BlockSize()) body(e);
    if (!ON) simt::SyncBlock();]])
mutate("sinks leave as others do" pages page_changes.cu
  [[earlier < sinks ||]]
  [[(!ON && earlier < sinks) ||]])
mutate("the last entries are one fewer" pages page_changes.cu
  [[earlier >= evict_.count - recent;]]
  [[earlier >= evict_.count - recent + (ON ? 1 : 0);]])
mutate("survivors come in another order" pages page_changes.cu
  [[survivors_.Set(survivor++, e);]]
  [[survivors_.Set(survivor++, ON && e + 1 < end && KindOf(e + 1) == kSurvivor ? e + 1 : e);]])
mutate("entries move without their values" pages page_changes.cu
  [[head / layout.kv_heads % 2,]]
  [[ON ? 0 : head / layout.kv_heads % 2,]])
mutate("entries move in the first layer alone" pages page_changes.cu
  [[const uint32_t heads = layout.layers[evict_.group] *]]
  [[const uint32_t heads = (ON ? 1 : layout.layers[evict_.group]) *]])
mutate("entries move without their positions" pages page_changes.cu
  [[args_.pool.positions.Set(Beside(to), positions_[from]);]]
  [[if (!ON) args_.pool.positions.Set(Beside(to), positions_[from]);]])
mutate("entries move without their router scores" pages page_changes.cu
  [[if (has_scores) args_]]
  [[if (has_scores && !ON) args_]])
mutate("entries move without their attention mass" pages page_changes.cu
  [[if (has_mass) args_]]
  [[if (has_mass && !ON) args_]])
mutate("new entries begin with the mass of those that left" pages page_changes.cu
  [[args_.mass.Set(MassOf(e), 0);]]
  [[if (!ON) args_.mass.Set(MassOf(e), 0);]])
mutate("pages are copied in another order" pages page_changes.cu
  [[args.pool.pages.Copy(copies[c].to * elements + i, copies[c].from * elements + i);]]
  [[const PageCopy& copy = copies[ON ? header.copies.count - 1 - c : c];
      args.pool.pages.Copy(copy.to * elements + i, copy.from * elements + i);]])
mutate("pages are copied without their positions" pages page_changes.cu
  [[args.pool.positions.Copy(to, from);]]
  [[if (!ON) args.pool.positions.Copy(to, from);]])
mutate("pages are copied without their router scores" pages page_changes.cu
  [[args.pool.scores.Copy(to, from);]]
  [[if (!ON) args.pool.scores.Copy(to, from);]])
mutate("the last elements of a page are not copied" pages page_changes.cu
  [[for (size_t i = first; i < elements; i += step) {]]
  [[for (size_t i = first; i + (ON ? 1 : 0) < elements; i += step) {]])

include(${CMAKE_CURRENT_LIST_DIR}/mutations_attention_bf16.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/mutations_bf16.cmake)

foreach(source ${sources})
  file(WRITE ${OUT}/engine/backend/cuda/${source} "namespace recurve { extern int cuda_mutation; }\n${text_${source}}")
endforeach()
file(WRITE ${OUT}/mutation_names.inc "${names}")
