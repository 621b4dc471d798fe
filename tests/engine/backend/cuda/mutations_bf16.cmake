# SPDX-License-Identifier: Apache-2.0
# The rules of the bf16 kernels but for attention, for mutations.cmake, which includes this file. All must be noticed by `bits`: digests of
# tools/gpu_check/bf16_digests.txt that come out otherwise, or a report of the emulator.

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
