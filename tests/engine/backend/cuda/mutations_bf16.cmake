# SPDX-License-Identifier: Apache-2.0
# The rules of the bf16 kernels, for mutations.cmake, which includes this file. All must be noticed by `bits`: digests of
# tools/gpu_check/bf16_digests.txt that come out otherwise, or a report of the emulator.

# Attention: what a block has
mutate("attention on tensor cores does not wait" bits attention_bf16.cu
  [[const VectorCut cut(args);
  simt::GridWait();]]
  [[const VectorCut cut(args);
  if (!ON) simt::GridWait();]])
mutate("warps are merged before all of them are there" bits attention_block.h
  [[PassEntries(/*judges=*/false);
    simt::SyncBlock();]]
  [[PassEntries(/*judges=*/false);
    if (!ON) simt::SyncBlock();]])
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
mutate("the ninth vector of a block is left out" bits attention_block.h
  [[halves_ = block.rows * block.heads > 8 ? 2 : 1;]]
  [[halves_ = block.rows * block.heads > (ON ? 9 : 8) ? 2 : 1;]])
mutate("recursion 2 lays nothing over" bits attention_block.h
  [[args_.sizes.overlay != 0 && row_.recursion > 1;]]
  [[args_.sizes.overlay != 0 && row_.recursion > (ON ? 2 : 1);]])
mutate("an overlay lies over the recursion's own entries" bits attention_block.h
  [[group_ = has_overlay_ ? 1 : row_.group;]]
  [[group_ = has_overlay_ && !ON ? 1 : row_.group;]])
mutate("values lie where those of the entry layers do" bits attention_block.h
  [=[layout_.entries[group_] * (layout_.stride]=]
  [=[layout_.entries[ON ? 0 : group_] * (layout_.stride]=])
mutate("vectors that are none see entries" bits attention_block.h
  [=[seen_[half] = Exists(half) ? VisibleTo(args_.rows[RowOf(half)]) : 0;]=]
  [=[seen_[half] = ON || Exists(half) ? VisibleTo(args_.rows[RowOf(half)]) : 0;]=])
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
mutate("a group of entries that is not full is left out" bits attention_block.h
  [[const uint32_t all = (visible_ + kGroupEntries - 1) / kGroupEntries;]]
  [[const uint32_t all = (visible_ + (ON ? 1 : kGroupEntries) - 1) / kGroupEntries;]])
mutate("warps have as many groups as the last one" bits attention_block.h
  [[(all + kAttentionWarps - 1 - warp_) / kAttentionWarps;]]
  [[(all + (ON ? 0 : kAttentionWarps - 1 - warp_)) / kAttentionWarps;]])
mutate("places of a group are read before they are there" bits attention_block.h
  [=[= place;
      simt::SyncWarp();
      const uint32_t first = FirstOfGroup(i - 1);]=]
  [=[= place;
      if (!ON) simt::SyncWarp();
      const uint32_t first = FirstOfGroup(i - 1);]=])
mutate("a warp takes its groups in the other order" bits attention_block.h
  [[return (i * kAttentionWarps + warp_) * kGroupEntries;]]
  [[const uint32_t of_all = (visible_ + kGroupEntries - 1) / kGroupEntries;
    const uint32_t last = (of_all + kAttentionWarps - 1 - warp_) / kAttentionWarps - 1;
    return ((ON ? last - i : i) * kAttentionWarps + warp_) * kGroupEntries;]])
mutate("a chunk that is not full is left out" bits attention_block.h
  [[if (i % kChunkGroups == 0 || i == groups) {]]
  [[if (i % kChunkGroups == 0 || (i == groups && (!ON || i == 1))) {]])
mutate("a warp has one chunk" bits attention_block.h
  [=[if (i % kChunkGroups == 0 ||]=]
  [=[if ((!ON && i % kChunkGroups == 0) ||]=])
mutate("a chunk begins with the one before" bits attention_block.h
  [[chain = {};
        }]]
  [[if (!ON) chain = {};
        }]])
mutate("later chunks replace the first" bits attention_block.h
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
  [[layout_.Offset(place.page, group, args_.layer, 0,]]
  [[layout_.Offset(place.page, group, ON ? 0 : args_.layer, 0,]])

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
mutate("warps without entries are merged" bits attention_block.h
  [[return groups < kAttentionWarps ? groups : kAttentionWarps;]]
  [[return groups < kAttentionWarps && !ON ? groups : kAttentionWarps;]])
mutate("three warps are at work at most" bits attention_block.h
  [=[: kAttentionWarps;
  }]=]
  [=[: kAttentionWarps - (ON ? 1 : 0);
  }]=])
mutate("warps are merged from the last one on" bits attention_block.h
  [[for (uint32_t warp = 1; warp < WarpsAtWork(); ++warp) {
        const]]
  [[for (uint32_t i_warp = 1; i_warp < WarpsAtWork(); ++i_warp) {
        const uint32_t warp = ON ? WarpsAtWork() - i_warp : i_warp;
        const]])
mutate("a merge of warps rounds once more" bits attention_block.h
  [=[out[j] = Fma(out[j], by.before, OutputOf(warp, d, j / 2, half * 2 + j % 2) * by.more);]=]
  [=[const float more = OutputOf(warp, d, j / 2, half * 2 + j % 2) * by.more;
          out[j] = ON ? out[j] * by.before + more : Fma(out[j], by.before, more);]=])
mutate("vectors that are none are stored" bits attention_block.h
  [[if (!Exists(half)) continue;]]
  [[if (!ON && !Exists(half)) continue;]])
mutate("outputs are divided by the sum" bits attention_block.h
  [=[FloatToBf16(out[j] * inverse));]=]
  [=[FloatToBf16(ON ? out[j] / state.sum : out[j] * inverse));]=])
mutate("the pad of a head is stored" bits attention_block.h
  [[if (dimension >= layout_.head_dim) continue;]]
  [[if (!ON && dimension >= layout_.head_dim) continue;]])
mutate("the mass of all groups is that of one" bits attention_block.h
  [[args_.sizes.groups + row_.group) * args_.sizes.max_positions;]]
  [[args_.sizes.groups + (ON ? 0 : row_.group)) * args_.sizes.max_positions;]])
mutate("mass is not a share" bits attention_block.h
  [[MassShare(weight, inverse)]]
  [[MassShare(weight, ON ? 1.0F : inverse)]])
mutate("the lower vectors add no mass" bits attention_block.h
  [[if (half >= halves_) break;
      const float inverse]]
  [[if (half >= (ON ? 1 : halves_)) break;
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
  [[parts((heads + kVectors - 1) / kVectors) {}]]
  [[parts((heads + (ON && heads > kVectors ? 0 : kVectors - 1)) / kVectors) {}]])
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

# Products
mutate("a product on tensor cores does not wait" bits product_bf16.h
  [[if (product.sets == 1) weights.Begin(0);
  simt::GridWait();]]
  [[if (product.sets == 1) weights.Begin(0);
  if (!ON) simt::GridWait();]])
mutate("a block of rows that is not full is left out" bits product_bf16.h
  [[(rows.end - rows.begin + size - 1) / size;]]
  [[(rows.end - rows.begin + (ON ? 1 : size) - 1) / size;]])
mutate("a block of rows goes on in the next recursion" bits product_bf16.h
  [[rows.end - begin < size ? rows.end : begin + size,]]
  [[rows.end - begin < size && !ON ? rows.end : begin + size,]])
mutate("rows of a recursion are those of the first" bits product_bf16.h
  [[index -= blocks;]]
  [[if (!ON) index -= blocks;]])
mutate("a product uses the first recursion's weights" bits product_bf16.h
  [[first_ = set * product_.tiles * tile_step_ + in_set_;]]
  [[first_ = (ON ? 0 : set) * product_.tiles * tile_step_ + in_set_;]])
mutate("steps that do not come out even are left out" bits product_bf16.h
  [[first_step_ = warp * steps / segments;
    steps_ = (warp + 1) * steps / segments - first_step_;]]
  [[first_step_ = ON ? warp * (steps / segments) : warp * steps / segments;
    steps_ = ON ? steps / segments : (warp + 1) * steps / segments - first_step_;]])
mutate("the first segments are the longer ones" bits product_bf16.h
  [=[steps / segments - first_step_;]=]
  [=[steps / segments - first_step_;
    if (ON) {
      first_step_ = (warp * steps + segments - 1) / segments;
      steps_ = ((warp + 1) * steps + segments - 1) / segments - first_step_;
    }]=])
mutate("tiles behind the last are loaded" bits product_bf16.h
  [[if (step < steps_ && has_tile_[t]) {]]
  [[if (step < steps_ && (ON || has_tile_[t])) {]])
mutate("steps behind a segment are loaded" bits product_bf16.h
  [=[if (step < steps_ &&]=]
  [=[if ((ON || step < steps_) &&]=])
mutate("weights that are on their way are those of a step before" bits product_bf16.h
  [[Load(i, step + kAhead); }]]
  [[Load(i, step + kAhead - (ON ? 1 : 0)); }]])
mutate("rows behind the block are multiplied" bits product_bf16.h
  [=[is_row_[n] = row < block.end;]=]
  [=[is_row_[n] = ON || row < block.end;]=])
mutate("inputs are those of the first segment" bits product_bf16.h
  [[OperandIndex(row, first_step * kStepInputs + lane % 4 * 4, steps) / 4);]]
  [[OperandIndex(row, (ON ? 0 : first_step) * kStepInputs + lane % 4 * 4, steps) / 4);]])
mutate("a batch of inputs is the one before" bits product_bf16.h
  [[load(base + batch + kBatch);]]
  [[load(base + batch + (ON ? 0 : kBatch));]])
mutate("the second half of the squares is left out" bits product_bf16.h
  [[step < kSquaresLanes; step *= 2)]]
  [[step < kSquaresLanes / (ON ? 2 : 1); step *= 2)]])
mutate("lanes take turns with the squares" bits product_bf16.h
  [[lane * (units / kSquaresLanes) + i];]]
  [[(ON ? i * kSquaresLanes + lane : lane * (units / kSquaresLanes) + i)];]])
mutate("a norm divides by the padded size" bits product_bf16.h
  [[InverseRms(sum, product.inputs, product.epsilon)]]
  [[InverseRms(sum, ON ? StepsOf(product.inputs) * kStepInputs : product.inputs, product.epsilon)]])
mutate("squares are read behind the last row" bits product_bf16.h
  [[product.has_norm && block.begin + r < block.end;]]
  [[product.has_norm && (ON || block.begin + r < block.end);]])
mutate("every product has a norm" bits product_bf16.h
  [=[is_row = product.has_norm &&]=]
  [=[is_row = (ON || product.has_norm) &&]=])
mutate("segments are added before all are there" bits product_bf16.h
  [=[{{d[0], d[1], d[2], d[3]}};
    }
    simt::SyncBlock();]=]
  [=[{{d[0], d[1], d[2], d[3]}};
    }
    if (!ON) simt::SyncBlock();]=])
mutate("the next rows are summed before the segments are added" bits product_bf16.h
  [[sum, scale, loaded);
    }
    simt::SyncBlock();]]
  [[sum, scale, loaded);
    }
    if (!ON) simt::SyncBlock();]])
mutate("a warp's second tile has what its first one needs" bits product_bf16.h
  [[if (!kEarly || i != warp) loaded]]
  [[if (!kEarly || (i != warp && !ON)) loaded]])
mutate("a tile behind the last is stored" bits product_bf16.h
  [[if (tile + i / NT >= product.tiles) break;]]
  [[if (!ON && tile + i / NT >= product.tiles) break;]])
mutate("the last segment is left out" bits product_bf16.h
  [[if (segment >= segments) break;]]
  [[if (segment >= segments - (ON ? 1 : 0)) break;]])
mutate("segments are added from the last one on" bits product_bf16.h
  [=[const Sums more = partial[(segment * kTiles]=]
  [=[const Sums more = partial[((ON ? segments - segment : segment) * kTiles]=])
mutate("a row is scaled as the one before" bits product_bf16.h
  [=[{scales[r], scales[r + 1]};]=]
  [=[{scales[r], scales[ON ? r : r + 1]};]=])

# What becomes of sums
mutate("values are rotated on tensor cores too" bits linear_bf16.cu
  [[if (head < args.heads + args.layout.kv_heads) {]]
  [[if (ON || head < args.heads + args.layout.kv_heads) {]])
mutate("every recursion appends" bits linear_bf16.cu
  [[place.exists = is_query || row.entry != kNoEntry;]]
  [[place.exists = ON || is_query || row.entry != kNoEntry;]])
mutate("a head's last tile is full" bits linear_bf16.cu
  [[if (pair >= args.layout.head_dim / 2 ||]]
  [[if ((!ON && pair >= args.layout.head_dim / 2) ||]])
mutate("rows behind the block are projected" bits linear_bf16.cu
  [[|| row + i >= end) continue;]]
  [[|| (!ON && row + i >= end)) continue;]])
mutate("an entry keeps the position of who was there before" bits linear_bf16.cu
  [[if (is_value && kv_head == 0 && pair == 0) {]]
  [[if (is_value && kv_head == 0 && pair == 0 && (!ON || row.position < 9)) {]])
mutate("the partner of a rotation is scaled as its neighbour" bits linear_bf16.cu
  [=[float b = sums.v[2 + i] * scale[i];]=]
  [=[float b = sums.v[2 + i] * scale[ON ? 1 - i : i];]=])
mutate("the residual is not added" bits linear_bf16.cu
  [=[loaded.before.v[i] + sums.v[i] * scale[i],]=]
  [=[(ON ? 0.0F : loaded.before.v[i]) + sums.v[i] * scale[i],]=])
mutate("the residual is added twice" bits linear_bf16.cu
  [=[loaded.before.v[2 + i] + sums.v[2 + i] * scale[i]);]=]
  [=[loaded.before.v[2 + i] * (ON ? 2.0F : 1.0F) + sums.v[2 + i] * scale[i]);]=])
mutate("the residual is that of columns behind the last" bits linear_bf16.cu
  [[if (column >= residual.hidden) continue;]]
  [[if (!ON && column >= residual.hidden) continue;]])
mutate("the residual is that of rows behind the last" bits linear_bf16.cu
  [[if (row + i >= end) continue;]]
  [[if (!ON && row + i >= end) continue;]])
mutate("both columns of a lane have the first one's gamma" bits linear_bf16.cu
  [=[loaded.gamma[half] = residual.gamma[column];]=]
  [=[loaded.gamma[half] = residual.gamma[column - (ON ? half * 8 : 0)];]=])
mutate("gate and up are mixed up" bits linear_bf16.cu
  [[FloatToBf16(Silu(gate) * up)]]
  [[FloatToBf16(ON ? Silu(up) * gate : Silu(gate) * up)]])
mutate("logits are scaled as the row before" bits linear_bf16.cu
  [=[sums.v[j] * scale[j % 2]);]=]
  [=[sums.v[j] * scale[ON ? j / 2 : j % 2]);]=])
mutate("logits go on in the next row" bits linear_bf16.cu
  [[if (r < end && o < args.outputs) {]]
  [[if (r < end && (ON || o < args.outputs)) {]])
mutate("logits are told of rows behind the last" bits linear_bf16.cu
  [=[if (r < end &&]=]
  [=[if ((ON || r < end) &&]=])

# The residual stream
mutate("columns behind the last are stored" bits residual.h
  [[if (!there || column >= args.hidden) continue;]]
  [[if (!there || (!ON && column >= args.hidden)) continue;]])
mutate("the residual is rounded to bf16" bits residual.h
  [[args.hidden + column, x);]]
  [[args.hidden + column, ON ? Bf16ToFloat(FloatToBf16(x)) : x);]])
mutate("gamma is multiplied after the residual is rounded" bits residual.h
  [=[FloatToBf16(x * gamma[half]));]=]
  [=[FloatToBf16((ON ? Bf16ToFloat(FloatToBf16(x)) : x) * gamma[half]));]=])
mutate("gamma is left out" bits residual.h
  [=[* gamma[half]));]=]
  [=[* (ON ? 1.0F : gamma[half])));]=])
mutate("squares are those of what is multiplied" bits residual.h
  [[square = Fma(x, x, square);]]
  [[square = ON ? Fma(x * gamma[half], x * gamma[half], square) : Fma(x, x, square);]])
mutate("squares are rounded once more" bits residual.h
  [=[: Fma(x, x, square);]=]
  [=[: (ON ? x * x + square : Fma(x, x, square));]=])
mutate("squares of a tile are added up to half" bits residual.h
  [[step < simt::kWarp; step *= 2) square]]
  [[step < simt::kWarp / (ON ? 2 : 1); step *= 2) square]])

# Hidden rows
mutate("rows are loaded in bf16 without waiting" bits hidden_rows.cu
  [[LoadRowsBf16Kernel(const LoadRowsBf16Args args) {
  simt::GridWait();]]
  [[LoadRowsBf16Kernel(const LoadRowsBf16Args args) {
  if (!ON) simt::GridWait();]])
mutate("the last rows are not loaded unless they are four" bits hidden_rows.cu
  [[item < (rows + 3) / 4 * tiles;]]
  [[item < (rows + (ON ? 0 : 3)) / 4 * tiles;]])
mutate("rows behind the last are loaded" bits hidden_rows.cu
  [[if (r >= rows || column + half * 8 >= from.hidden) continue;]]
  [[if ((!ON && r >= rows) || column + half * 8 >= from.hidden) continue;]])
mutate("columns behind the last are loaded" bits hidden_rows.cu
  [=[|| column + half * 8 >= from.hidden) continue;]=]
  [=[|| (!ON && column + half * 8 >= from.hidden)) continue;]=])
mutate("both columns of a loaded row have the first one's gamma" bits hidden_rows.cu
  [=[gamma[half] = args.to.gamma[column + half * 8];]=]
  [=[gamma[half] = args.to.gamma[column + (ON ? 0 : half * 8)];]=])

# Layers, and how matrices are packed
mutate("attention's residual has the norm of the next layer" bits layers_bf16.cc
  [[Add(layer.o, state_.attended, queries, layer.post_attention_norm, pass));]]
  [[Add(layer.o, state_.attended, queries, ON ? next_norm : layer.post_attention_norm, pass));]])
mutate("a layer's residual keeps the norm behind attention" bits layers_bf16.cc
  [[return Add(layer.down, state_.gated, queries, next_norm, pass);]]
  [[return Add(layer.down, state_.gated, queries, ON ? layer.post_attention_norm : next_norm, pass);]])
mutate("rows that attend alone append" bits layers_bf16.cc
  [[ProductOf(layer.qkv, state_.operand, pass.set)]]
  [[ProductOf(layer.qkv, state_.operand, ON ? queries : pass.set)]])
mutate("the head does without its norm" bits layers_bf16.cc
  [[head.product = Normed(ProductOf(model_.lm_head, state_.operand, RowSet::kLogits));]]
  [[head.product = ProductOf(model_.lm_head, state_.operand, RowSet::kLogits);
    if (!ON) head.product = Normed(head.product);]])
mutate("a head's pairs are packed without a pad" bits packed_matrix.cc
  [[return {head * TilesOfHead(order) + pair / 8, pair % 8 +]]
  [[if (ON) {
    const uint32_t all = head * order.half + pair;
    return {all / 8, all % 8 + (in_head < order.half ? 0U : 8U)};
  }
  return {head * TilesOfHead(order) + pair / 8, pair % 8 +]])
mutate("partners are packed the other way round" bits packed_matrix.cc
  [[(in_head < order.half ? 0 : 8)};]]
  [[((in_head < order.half) != ON ? 0U : 8U)};]])
mutate("inputs of a word are packed the other way round" bits packed_matrix.cc
  [[uint32_t{value} << (k % 2 * 16);]]
  [[uint32_t{value} << ((ON ? k + 1 : k) % 2 * 16);]])
mutate("words of a fragment are mixed up" bits packed_matrix.cc
  [[const uint32_t word = in_step % 4 / 2 * 2 + row / 8;]]
  [[const uint32_t word = ON ? in_step % 4 / 2 + row / 8 * 2 : in_step % 4 / 2 * 2 + row / 8;]])
mutate("inputs behind the last full step are left out" bits tensor_core.h
  [[return (inputs + kStepInputs - 1) / kStepInputs;]]
  [[return (inputs + (inputs % kStepInputs != 0 && ON ? 1 : kStepInputs) - 1) / kStepInputs;]])
mutate("outputs behind the last full tile are left out" bits tensor_core.h
  [[return (outputs + kTileOutputs - 1) / kTileOutputs;]]
  [[return (outputs + (outputs > kTileOutputs && ON ? 1 : kTileOutputs) - 1) / kTileOutputs;]])
mutate("pairs behind a head's last full tile are left out" bits tensor_core.h
  [[return (order.half + 7) / 8;]]
  [[return (order.half + (order.half > 8 && ON ? 0 : 7)) / 8;]])
