# SPDX-License-Identifier: Apache-2.0
# The rules of the f32 kernels: rows, products and attention, for mutations.cmake, which includes this file.

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
