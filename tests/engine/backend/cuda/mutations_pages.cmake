# SPDX-License-Identifier: Apache-2.0
# The rules of evictions and page copies, for mutations.cmake, which includes this file.

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
