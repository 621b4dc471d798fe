# SPDX-License-Identifier: Apache-2.0
# The rules of routers and sampling, whatever the precision, for mutations.cmake, which includes this file.

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
