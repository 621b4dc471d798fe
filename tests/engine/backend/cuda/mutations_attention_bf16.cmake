# SPDX-License-Identifier: Apache-2.0
# The rules of attention in bf16, for mutations.cmake, which includes this file. All must be noticed by `bits`: digests of
# tools/gpu_check/bf16_digests.txt that come out otherwise, or a report of the emulator.

# Attention: what a block has
mutate("attention on tensor cores does not wait" bits attention_bf16.cu
  [[cut(args.layout, args.heads);
  simt::GridWait();]]
  [[cut(args.layout, args.heads);
  if (!ON) simt::GridWait();]])
mutate("warps are merged before all of them are there" bits attention_block.h
  [[simt::SyncBlock();
    sums_.Store();]]
  [[if (!ON) simt::SyncBlock();
    sums_.Store();]])
mutate("an item begins before all are done with the one before" bits attention_block.h
  [[simt::SyncBlock();  // shared memory is another item's next]]
  [[if (!ON) simt::SyncBlock();]])
mutate("a query does not see its own entry" bits attention_block.h
  [[return visible > 0 ? visible : 1;]]
  [[return visible > (ON ? 1 : 0) ? visible - (ON ? 1 : 0) : 1;]])
mutate("a block sees what its first row sees" bits attention_block.h
  [[if (row.visible > row_.visible) row_ = row;]]
  [[if (!ON && row.visible > row_.visible) row_ = row;]])
mutate("a block sees what its last row sees" bits attention_block.h
  [=[row.visible > row_.visible) row_ = row;]=]
  [=[(ON || row.visible > row_.visible)) row_ = row;]=])
mutate("the ninth vector of a block is left out" bits query_vectors.h
  [[return rows * heads > 8 ? 2 : 1;]]
  [[return rows * heads > (ON ? 9 : 8) ? 2 : 1;]])
mutate("recursion 2 lays nothing over" bits attention_block.h
  [[args_.sizes.overlay != 0 && row_.recursion > 1;]]
  [[args_.sizes.overlay != 0 && row_.recursion > (ON ? 2 : 1);]])
mutate("an overlay lies over the recursion's own entries" bits attention_block.h
  [[group_ = has_overlay_ ? 1 : row_.group;]]
  [[group_ = has_overlay_ && !ON ? 1 : row_.group;]])
mutate("values lie where those of the entry layers do" bits attention_block.h
  [=[args_.sizes.page_entries[group_] * (layout_.stride]=]
  [=[args_.sizes.page_entries[ON ? 0 : group_] * (layout_.stride]=])
mutate("vectors that are none see entries" bits attention_block.h
  [=[seen_[half] = Exists(half) ?]=]
  [=[seen_[half] = ON || Exists(half) ?]=])
mutate("queries are loaded beyond the block" bits attention_block.h
  [[if (Exists(half) && step * kStepInputs]]
  [[if ((ON || Exists(half)) && step * kStepInputs]])
mutate("a query goes on in its neighbour" bits attention_block.h
  [=[&& step * kStepInputs < layout_.stride) words]=]
  [=[&& (ON || step * kStepInputs < layout_.stride)) words]=])
mutate("a key goes on in its neighbour" bits attention_block.h
  [[if (dimension < layout_.stride) {]]
  [[if (ON || dimension < layout_.stride) {]])

# Attention: entries
mutate("a group of entries that is not full is left out" bits attention_sums.h
  [[return (GroupsOf(visible) + kAttentionWarps - 1 - warp) / kAttentionWarps;]]
  [[const uint32_t all = ON ? visible / kGroupEntries : GroupsOf(visible);
  return (all + kAttentionWarps - 1 - warp) / kAttentionWarps;]])
mutate("warps have as many groups as the last one" bits attention_sums.h
  [[return (all + kAttentionWarps - 1 - warp) / kAttentionWarps;]]
  [[return (all + (ON ? 0 : kAttentionWarps - 1 - warp)) / kAttentionWarps;]])
mutate("places of a group are read before they are there" bits attention_block.h
  [=[= place;
      simt::SyncWarp();
      const uint32_t first = FirstOfGroup(i - 1);]=]
  [=[= place;
      if (!ON) simt::SyncWarp();
      const uint32_t first = FirstOfGroup(i - 1);]=])
mutate("a warp takes its groups in the other order" bits attention_block.h
  [[return (i * kAttentionWarps + warp_) * kGroupEntries;]]
  [[const uint32_t last = GroupsOfWarp(visible_, warp_) - 1;
    return ((ON ? last - i : i) * kAttentionWarps + warp_) * kGroupEntries;]])
mutate("a chunk that is not full is left out" bits attention_block.h
  [[if (i % kChunkGroups == 0 || i == end_group) {]]
  [[if (i % kChunkGroups == 0 || (i == end_group && (!ON || i == 1))) {]])
mutate("a warp has one chunk" bits attention_block.h
  [=[if (i % kChunkGroups == 0 ||]=]
  [=[if ((!ON && i % kChunkGroups == 0) ||]=])
mutate("a chunk begins with the one before" bits attention_block.h
  [[chain = {};
        }]]
  [[if (!ON) chain = {};
        }]])
mutate("later chunks replace the first" bits attention_sums.h
  [[if (chunk == 0) {]]
  [[if (ON || chunk == 0) {]])
mutate("an own entry is not laid over" bits attention_block.h
  [[for (uint32_t own = 0; own <= row_.entry; ++own) {]]
  [[for (uint32_t own = 0; own < row_.entry + (ON ? 0 : 1); ++own) {]])
mutate("an overlay lies over the place of the entry's number" bits attention_block.h
  [[if (position == entry) key = KeyOf(row_.group, own);]]
  [[if ((ON ? own : position) == entry) key = KeyOf(row_.group, own);]])
mutate("entries beyond the last have places of their own" bits attention_block.h
  [[const uint32_t entry = wanted < visible_ ? wanted : visible_ - 1;]]
  [[const uint32_t entry = ON || wanted < visible_ ? wanted : visible_ - 1;]])
mutate("all layers attend to the first one's entries" bits attention_block.h
  [=[args_.sizes.page_entries[group], args_.layer, 0,]=]
  [=[args_.sizes.page_entries[group], ON ? 0 : args_.layer, 0,]=])

# Attention: scores and outputs
mutate("a vector sees the entry behind its own" bits attention_block.h
  [=[const bool is_seen = entry < seen_[i / 2];]=]
  [=[const bool is_seen = entry < seen_[i / 2] + (ON ? 1 : 0);]=])
mutate("all vectors see what the furthest sees" bits attention_block.h
  [=[is_seen = entry < seen_[i / 2]]=]
  [=[is_seen = entry < (ON ? visible_ : seen_[i / 2])]=])
mutate("the lower vectors see what the upper ones see" bits attention_block.h
  [=[: seen_[i / 2])]=]
  [=[: seen_[ON ? 0 : i / 2])]=])
mutate("the score of what is not seen is 0" bits attention_block.h
  [[* scale_ : -math_internal::kInfinity;]]
  [[* scale_ : (ON ? 0.0F : -math_internal::kInfinity);]])
mutate("scores are not scaled" bits attention_block.h
  [=[is_seen ? scores[j][i] * scale_]=]
  [=[is_seen ? scores[j][i] * (ON ? 1.0F : scale_)]=])
mutate("values are paired the other way" bits attention_block.h
  [=[places_[t * 16 + i / 2 * 8 + lane_ % 4 * 2 + i % 2] +]=]
  [=[places_[t * 16 + (ON ? i % 2 : i / 2) * 8 + lane_ % 4 * 2 + (ON ? i / 2 : i % 2)] +]=])
mutate("keys are taken for values" bits attention_block.h
  [=[] + values_;]=]
  [=[] + (ON ? 0 : values_);]=])
mutate("warps without entries are merged" bits attention_sums.h
  [[return groups < kAttentionWarps ? groups : kAttentionWarps;]]
  [[return groups < kAttentionWarps && !ON ? groups : kAttentionWarps;]])
mutate("three warps are at work at most" bits attention_sums.h
  [=[: kAttentionWarps;
  }]=]
  [=[: kAttentionWarps - (ON ? 1 : 0);
  }]=])
mutate("warps are merged from the last one on" bits attention_sums.h
  [[for (uint32_t warp = 1; warp < WarpsAtWork(); ++warp) {
        const]]
  [[for (uint32_t i_warp = 1; i_warp < WarpsAtWork(); ++i_warp) {
        const uint32_t warp = ON ? WarpsAtWork() - i_warp : i_warp;
        const]])
mutate("a merge of warps rounds once more" bits attention_sums.h
  [=[out[j] = Fma(out[j], by.before, OutputOf(warp, d, j / 2, half * 2 + j % 2) * by.more);]=]
  [=[const float more = OutputOf(warp, d, j / 2, half * 2 + j % 2) * by.more;
          out[j] = ON ? out[j] * by.before + more : Fma(out[j], by.before, more);]=])
mutate("vectors that are none are stored" bits attention_sums.h
  [[if (block_.Has(vector)) StoreOutputs(]]
  [[if (ON || block_.Has(vector)) StoreOutputs(]])
mutate("outputs are divided by the sum" bits attention_sums.h
  [=[StoreOutputs(vector, d, out, 1.0F / state.sum);]=]
  [=[{
        for (float& output : out) output = ON ? output / state.sum : output;
        StoreOutputs(vector, d, out, ON ? 1.0F : 1.0F / state.sum);
      }]=])
mutate("the pad of a head is stored" bits attention_sums.h
  [[if (dimension >= head_dim) continue;]]
  [[if (!ON && dimension >= head_dim) continue;]])
mutate("the mass of all groups is that of one" bits attention_block.h
  [[args_.sizes.groups + row_.group) * args_.sizes.max_positions;]]
  [[args_.sizes.groups + (ON ? 0 : row_.group)) * args_.sizes.max_positions;]])
mutate("mass is not a share" bits attention_block.h
  [[MassShare(weight, inverse)]]
  [[MassShare(weight, ON ? 1.0F : inverse)]])
mutate("the lower vectors add no mass" bits attention_block.h
  [[if (half >= block_.Halves()) break;
      const float inverse]]
  [[if (half >= (ON ? 1 : block_.Halves())) break;
      const float inverse]])
mutate("nobody judges entries" bits attention_block.h
  [[if (is_judged_) {]]
  [[if (is_judged_ && !ON) {]])

# Attention: the running softmax
mutate("a group forgets the largest score so far" bits attention_chain.h
  [=[if (state[half].largest > group.largest) group]=]
  [=[if (!ON && state[half].largest > group.largest) group]=])
mutate("lanes of a vector are added up to half" bits attention_chain.h
  [[for (uint32_t step = 1; step < 4; step *= 2) {]]
  [[for (uint32_t step = 1; step < (ON ? 2 : 4); step *= 2) {]])
mutate("the sum so far is not scaled" bits attention_chain.h
  [=[state[half] = {group.largest, Fma(state[half].sum, before, group.sum)};]=]
  [=[const float by = ON ? 1.0F : before;
    state[half] = {group.largest, Fma(state[half].sum, by, group.sum)};]=])
mutate("the sum so far is rounded once more" bits attention_chain.h
  [=[Fma(state[half].sum, by, group.sum)};]=]
  [=[ON ? state[half].sum * by + group.sum : Fma(state[half].sum, by, group.sum)};]=])
mutate("outputs so far are not scaled" bits attention_chain.h
  [=[tile[half * 2] *= before;]=]
  [=[if (!ON) tile[half * 2] *= before;]=])
mutate("every second output so far is not scaled" bits attention_chain.h
  [=[tile[half * 2 + 1] *= before;]=]
  [=[if (!ON) tile[half * 2 + 1] *= before;]=])
mutate("weights are summed as they are rounded" bits attention_chain.h
  [[group.sum += score;]]
  [[group.sum += ON ? Bf16ToFloat(FloatToBf16(score)) : score;]])
mutate("weights of the halves are mixed up" bits attention_chain.h
  [=[Pack(low[2], low[3]),
                                   Pack(high[0], high[1]),]=]
  [=[ON ? Pack(high[0], high[1]) : Pack(low[2], low[3]),
                                   ON ? Pack(low[2], low[3]) : Pack(high[0], high[1]),]=])
mutate("weights of a pair come the other way round" bits attention_chain.h
  [[return FloatToBf16(low) | uint32_t{FloatToBf16(high)} << 16;]]
  [[return ON ? FloatToBf16(high) | uint32_t{FloatToBf16(low)} << 16
              : FloatToBf16(low) | uint32_t{FloatToBf16(high)} << 16;]])
mutate("what is not seen weighs something" bits softmax_state.h
  [[return score == -math_internal::kInfinity ? 0.0F : weight;]]
  [[return score == -math_internal::kInfinity && !ON ? 0.0F : weight;]])
mutate("the largest score is that of who came first" bits softmax_state.h
  [[more.largest > state->largest ? more.largest : state->largest;]]
  [[more.largest > state->largest && !ON ? more.largest : state->largest;]])
mutate("a merged sum is rounded once more" bits softmax_state.h
  [[state->sum = Fma(state->sum, factors.before, more.sum * factors.more);]]
  [[state->sum = ON ? state->sum * factors.before + more.sum * factors.more
                  : Fma(state->sum, factors.before, more.sum * factors.more);]])
mutate("a merge forgets its largest score" bits softmax_state.h
  [[state->largest = largest;]]
  [[if (!ON) state->largest = largest;]])

# Attention: how vectors are dealt to blocks
mutate("heads beyond a block's vectors are left out" bits query_vectors.h
  [[parts((heads + kVectors - 1) / kVectors),]]
  [[parts((heads + (ON && heads > kVectors ? 0 : kVectors - 1)) / kVectors),]])
mutate("the second block of a KV head has the first one's heads" bits query_vectors.h
  [[block.first_head = block.kv_head * cut.heads + part * kVectors;]]
  [[block.first_head = block.kv_head * cut.heads + (ON ? 0 : part) * kVectors;]])
mutate("a block has another KV head's vectors too" bits query_vectors.h
  [[block.heads = left < kVectors ? left : kVectors;]]
  [[block.heads = left < kVectors && !ON ? left : kVectors;]])
mutate("a block has more rows than fit" bits query_vectors.h
  [[return heads < kVectors ? kVectors / heads : 1;]]
  [[return heads < kVectors ? kVectors / heads + (ON ? 1 : 0) : 1;]])
mutate("a block has rows of several slots" bits query_vectors.h
  [=[is_same = args.rows[row].slot == args.rows[block.first_row].slot;]=]
  [=[is_same = ON || args.rows[row].slot == args.rows[block.first_row].slot;]=])
mutate("a block has rows behind the last" bits query_vectors.h
  [[if (lane < at_once && row < rows)]]
  [[if (lane < at_once && (ON || row < rows))]])
mutate("rows are dealt to several blocks" bits query_vectors.h
  [[if (in_row != 0 && (same]]
  [[if (!ON && in_row != 0 && (same]])

# Attention: over blocks
mutate("a step with more rows than there is memory for is split" bits attention_split.h
  [[return items > 0 && rows <= split.rows && grid > items]]
  [[return items > 0 && (rows <= split.rows || (ON && split.rows > 0)) && grid > items]])
mutate("blocks without chunks are waited for" bits attention_split.h
  [[return {begin, end, (chunks + at_once - 1) / at_once};]]
  [[return {begin, end, ON && chunks > 1 ? share.blocks + 1 : (chunks + at_once - 1) / at_once};]])
mutate("a block leaves out its last chunk" bits attention_split.h
  [[begin + at_once < chunks ? begin + at_once : chunks;]]
  [[begin + at_once < chunks ? begin + at_once - (ON ? 1 : 0) : chunks;]])
mutate("all blocks take the first chunks" bits attention_split.h
  [[const uint32_t begin = share.index * at_once;]]
  [[const uint32_t begin = ON && share.index * at_once < chunks ? 0 : share.index * at_once;]])
mutate("blocks without chunks go on" bits attention_block.h
  [[if (range.begin >= chunks) return;]]
  [[if (!ON && range.begin >= chunks) return;]])
mutate("every block merges" bits attention_block.h
  [[range.blocks, is_last_)) return;]]
  [[range.blocks, is_last_) && !ON) return;]])
mutate("nobody merges what blocks left" bits attention_block.h
  [[sums_.MergeLeft();]]
  [[if (!ON) sums_.MergeLeft();]])
mutate("the last block merges its own chunks alone" bits attention_block.h
  [[is_split ? Use::kLeave : Use::kMerge);]]
  [[is_split && !ON ? Use::kLeave : Use::kMerge);]])
mutate("the last block judges its own chunks alone" bits attention_block.h
  [[PassEntries(0, chunks, Use::kJudge);]]
  [[PassEntries(ON ? range.begin : 0, ON ? range.end : chunks, Use::kJudge);]])
mutate("rows are counted in one place" bits attention_block.h
  [[IsLastBlock(args_.split.came, item,]]
  [[IsLastBlock(args_.split.came, ON ? 0 : item,]])
mutate("who comes first is taken for the last" bits block.h
  [[const bool is_last = came.Add(i, 1) + 1 == blocks;]]
  [[const bool is_last = came.Add(i, 1) + 1 == (ON ? 1 : blocks);]])
mutate("the count goes on in the next launch" bits block.h
  [[if (is_last) came.Set(i, 0);]]
  [[if (is_last && !ON) came.Set(i, 0);]])
mutate("threads do not wait for the count" bits block.h
  [[simt::SyncBlock();
  return scratch[0] != 0;]]
  [[if (!ON) simt::SyncBlock();
  return scratch[0] != 0;]])
mutate("vectors that are none are left too" bits attention_sums.h
  [[if (!block_.Has(vector)) continue;]]
  [[if (!ON && !block_.Has(vector)) continue;]])
mutate("the upper vectors leave the lower ones' sums" bits attention_sums.h
  [=[outputs.v[i] = chain.out[piece / 2][j / 2][half * 2 + j % 2];]=]
  [=[outputs.v[i] = chain.out[piece / 2][j / 2][(ON ? 0 : half) * 2 + j % 2];]=])
mutate("heads leave their sums in one place" bits attention_sums.h
  [[args_.heads + block_.HeadOf(vector);]]
  [[args_.heads + (ON ? 0 : block_.HeadOf(vector));]])
mutate("chunks leave their sums in one place" bits attention_sums.h
  [[args_.split.sizes.chunks + chunk) * kAttentionWarps + warp_;]]
  [[args_.split.sizes.chunks + (ON ? 0 : chunk)) * kAttentionWarps + warp_;]])
mutate("warps leave their sums in one place" bits attention_sums.h
  [=[* kAttentionWarps + warp_;]=]
  [=[* kAttentionWarps + (ON ? 0 : warp_);]=])
mutate("what blocks left is merged from the last chunk on" bits attention_sums.h
  [[const size_t partial = PartialOf(vector, chunk);]]
  [[const uint32_t of_warp = (GroupsOfWarp(visible_, warp_) + kChunkGroups - 1) / kChunkGroups;
      const size_t partial = PartialOf(vector, ON ? of_warp - 1 - chunk : chunk);]])
mutate("the last chunk that was left is not merged" bits attention_sums.h
  [[if (base + i >= chunks) break;]]
  [[if (base + i >= chunks - (ON ? 1 : 0)) break;]])
mutate("a chunk is merged again where there are no more" bits attention_sums.h
  [=[if (base + i >= chunks -]=]
  [=[if (!ON && base + i >= chunks -]=])
mutate("a merge of what blocks left rounds once more" bits attention_sums.h
  [=[sums.v[j] = Fma(sums.v[j], by.before, outputs[i].v[j] * by.more);]=]
  [=[const float more = outputs[i].v[j] * by.more;
          sums.v[j] = ON ? sums.v[j] * by.before + more : Fma(sums.v[j], by.before, more);]=])
mutate("a vector's last outputs are left where they were" bits attention_sums.h
  [[unit < block_.rows * block_.heads * kPieces; unit += simt::kWarp) {]]
  [[unit < block_.rows * block_.heads * kPieces - (ON ? 1 : 0); unit += simt::kWarp) {]])
mutate("the softmax of what blocks left is forgotten" bits attention_sums.h
  [[if (piece == 0) StateOf(warp_, half, lane) = state;]]
  [[if (piece == 0 && !ON) StateOf(warp_, half, lane) = state;]])
