// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/schedule/fake_model.h"

#include <algorithm>
#include <array>
#include <bit>

#include "engine/base/mix_bits.h"

namespace recurve {

uint64_t Mix(uint64_t a, uint64_t b) { return MixBits(a * kGoldenGamma + b + 0x632BE59BD9B4E019); }

uint64_t FakeModel::Embed(uint32_t token, uint32_t position) const {
  return Mix(Mix(seed, token), position);
}

FakeEntry FakeModel::Append(uint64_t hidden, uint32_t group, uint32_t position) const {
  // Few different scores, so that some are equal.
  return {Mix(Mix(hidden, 0xE0), group), position, Mix(hidden, 0x5C) % 8, 0};
}

uint64_t FakeModel::Mass(uint64_t hidden, const FakeEntry& entry) const {
  return Mix(hidden, entry.position) % 4;
}

bool FakeModel::HasScores(uint32_t group) const {
  return shape.shared_kv == 0 && group > 1 && group < shape.exit_group();
}

uint64_t FakeModel::Attend(uint64_t hidden, uint32_t layer, std::span<const FakeEntry> seen) const {
  uint64_t sum = Mix(hidden, layer);
  for (const FakeEntry& entry : seen) sum = Mix(Mix(sum, entry.value), entry.position);
  return sum;
}

bool FakeModel::Continues(const FakeHidden& hidden, uint64_t entered, uint32_t cap,
                          float threshold_logit) const {
  if (hidden.depth >= std::min(cap, shape.recursions)) return false;
  switch (routing) {
    case Routing::kFixedDepth:
      return true;
    case Routing::kExpertChoice:
      return Mix(hidden.value, std::bit_cast<uint32_t>(threshold_logit)) % 3 != 0;
    case Routing::kTokenChoice:
      return hidden.depth <= Mix(entered, 0x7C) % shape.recursions;
  }
  return false;
}

uint32_t FakeModel::Sample(uint64_t hidden, std::span<const uint32_t> history,
                           const FakeSampling& sampling) const {
  const SamplingParams& params = sampling.params;
  uint64_t sum = Mix(Mix(Mix(hidden, params.seed_low), params.seed_high), params.generated);
  for (const uint32_t token : history) sum = Mix(sum, token);
  for (const TokenBias& bias : sampling.biases) sum = Mix(sum, bias.token);
  uint32_t token = static_cast<uint32_t>(sum % vocab);
  const auto stops = [&sampling](uint32_t id) {
    return std::find(sampling.stop_ids.begin(), sampling.stop_ids.end(), id) !=
           sampling.stop_ids.end();
  };
  while (history.size() < params.min_end && stops(token)) token = (token + 1) % vocab;
  return token;
}

void FakeModel::Logprobs(uint64_t hidden, uint32_t slot, uint32_t position, uint32_t token,
                         uint32_t top, std::vector<TokenLogprob>& logprobs) const {
  const auto value = [hidden](uint32_t id) {
    return -static_cast<float>(Mix(hidden, id) % 4096) / 256.0F;
  };
  logprobs.push_back({slot, position, token, value(token)});
  for (uint32_t i = 0; i < top; ++i) {
    const uint32_t id = static_cast<uint32_t>(Mix(hidden, 0x1000 + i) % vocab);
    logprobs.push_back({slot, position, id, value(id)});
  }
}

bool EndsStopString(uint64_t id, uint32_t token, uint32_t position) {
  return Mix(Mix(id, token), position) % 8 == 0;
}

uint32_t CapAt(std::span<const DepthCap> caps, uint32_t position, uint32_t recursions) {
  uint32_t cap_here = recursions;
  for (const DepthCap& change : caps) {
    if (change.position <= position) cap_here = change.cap;
  }
  return cap_here;
}

bool SameLogprobs(const std::vector<TokenLogprob>& told, const std::vector<TokenLogprob>& expected,
                  size_t count) {
  return told.size() == count && count <= expected.size() &&
         std::equal(told.begin(), told.end(), expected.begin(),
                    [](const TokenLogprob& a, const TokenLogprob& b) {
                      return a.position == b.position && a.id == b.id && a.value == b.value;
                    });
}

namespace {

// One sequence, computed a token at a time.
class Alone {
 public:
  Alone(const FakeModel& model, const EntriesPerPage& entries_per_page,
        const ScheduledSample& sample)
      : model_(model),
        pages_(entries_per_page),
        caps_(sample.caps),
        threshold_logit_(sample.threshold_logit),
        budget_(sample.budget) {}

  // Runs the row of `token` at `position` and returns what leaves EXIT.
  FakeHidden Run(uint32_t token, uint32_t position) {
    const StepShape& shape = model_.shape;
    if (budget_.limited() && position > 0 && position % budget_.every == 0) Evict(position);
    FakeHidden row{model_.Embed(token, position), 0};
    AppendAndAttend(row, shape.entry_group(), shape.entry_group(), position);
    const uint64_t entered = row.value;
    do {
      const uint32_t recursion = row.depth + 1;
      if (shape.appends(recursion)) {
        AppendAndAttend(row, shape.group(recursion), recursion, position);
      } else {
        row.value = model_.Attend(row.value, recursion, entries_[shape.group(recursion)]);
      }
      row.depth = recursion;
    } while (
        model_.Continues(row, entered, CapAt(caps_, position, shape.recursions), threshold_logit_));
    AppendAndAttend(row, shape.exit_group(), kMaxGroups, position);
    return row;
  }

 private:
  void AppendAndAttend(FakeHidden& row, uint32_t group, uint32_t layer, uint32_t position) {
    if (pages_[group] == 0) return;  // no layers
    entries_[group].push_back(model_.Append(row.value, group, position));
    for (FakeEntry& entry : entries_[group]) entry.mass += model_.Mass(row.value, entry);
    row.value = model_.Attend(row.value, layer, entries_[group]);
  }

  void Evict(uint32_t position) {
    for (uint32_t group = 0; group < model_.shape.groups(); ++group) {
      const GroupBudget& limit = budget_.groups[group];
      const size_t least = std::max<size_t>(budget_.sinks + budget_.recent, 1);
      const size_t share = std::max<size_t>(size_t{position} * limit.percent / 100, least);
      if (limit.limited()) Evict(group, limit.entries > 0 ? limit.entries : share);
    }
  }

  // Drops the worst entry until `keep` are left; those behind fill the holes.
  void Evict(uint32_t group, size_t keep) {
    std::vector<FakeEntry>& entries = entries_[group];
    if (entries.size() <= keep) return;
    std::vector<FakeEntry> staying = entries;
    std::sort(staying.begin(), staying.end(),
              [](const FakeEntry& a, const FakeEntry& b) { return a.position < b.position; });
    while (staying.size() > keep) staying.erase(Worst(staying, group));
    const auto stays = [&staying](const FakeEntry& entry) {
      return std::any_of(staying.begin(), staying.end(),
                         [&](const FakeEntry& e) { return e.position == entry.position; });
    };
    std::vector<FakeEntry> tail(entries.begin() + static_cast<std::ptrdiff_t>(keep), entries.end());
    entries.resize(keep);
    auto next = tail.begin();
    for (FakeEntry& entry : entries) {
      if (stays(entry)) continue;
      next = std::find_if(next, tail.end(), stays);
      entry = *next++;
    }
  }

  // Of entries in position order.
  std::vector<FakeEntry>::const_iterator Worst(const std::vector<FakeEntry>& entries,
                                               uint32_t group) const {
    const auto first = entries.begin() + budget_.sinks;
    const bool by_mass = budget_.policy == EvictionPolicy::kAttention;
    const bool by_score = budget_.policy == EvictionPolicy::kRouter && model_.HasScores(group);
    if (!by_mass && !by_score) return first;  // the oldest that is not a sink
    return std::min_element(first, entries.end() - budget_.recent,
                            [by_mass](const FakeEntry& a, const FakeEntry& b) {
                              return by_mass ? a.mass < b.mass : a.score < b.score;
                            });
  }

  const FakeModel& model_;
  const EntriesPerPage& pages_;
  const std::span<const DepthCap> caps_;
  const float threshold_logit_;
  const KvBudget& budget_;
  std::array<std::vector<FakeEntry>, kMaxGroups> entries_;
};

}  // namespace

Expected ComputeAlone(const FakeModel& model, const ScheduledSample& sample,
                      const ScheduleOptions& options, bool stop_strings) {
  Expected expected;
  const uint32_t prompt = static_cast<uint32_t>(sample.prompt.size());
  const bool endless = IsEndless(sample, options);
  // The default, less what an earlier stream has had of it.
  const uint32_t usual = options.default_max_tokens > sample.generated_prefix
                             ? options.default_max_tokens - sample.generated_prefix
                             : 1;
  const uint32_t left = endless ? usual : options.limits.max_positions - prompt;
  const uint32_t allowed = sample.max_tokens.value_or(std::min(usual, left));
  if (!endless && !sample.max_tokens.has_value() && allowed == left) {
    expected.reason = EndReason::kContextLimit;
  }
  FakeSampling sampling{sample.sampling, sample.threshold_logit, sample.biases, {}};
  sampling.params.generated = prompt - sample.generated_prefix;
  sampling.params.min_end = sampling.params.generated + sample.min_tokens;
  std::vector<uint32_t> stop_ids = sample.stop_token_ids;
  const auto& eos = options.eos_ids;
  if (!sample.ignore_eos) stop_ids.insert(stop_ids.begin(), eos.begin(), eos.end());
  sampling.stop_ids = stop_ids;

  Alone alone(model, options.entries_per_page, sample);
  std::vector<uint32_t> history = sample.prompt;
  for (uint32_t position = 0; position + 1 < prompt + allowed; ++position) {
    const FakeHidden row = alone.Run(history[position], position);
    expected.row_depths.push_back(row.depth);
    const std::span<const uint32_t> seen(history.data(), position + 1);
    if (position + 1 < prompt) {
      model.Logprobs(row.value, 0, position + 1, history[position + 1], sample.logprobs.value_or(0),
                     expected.prompt_logprobs);
      continue;
    }
    const uint32_t token = model.Sample(row.value, seen, sampling);
    history.push_back(token);
    expected.tokens.push_back(token);
    model.Logprobs(row.value, 0, position + 1, token, sample.logprobs.value_or(0),
                   expected.token_logprobs);
    if (!sample.ignore_eos && std::count(eos.begin(), eos.end(), token) > 0) {
      expected.reason = EndReason::kEndOfSequence;
      break;
    }
    if (std::count(stop_ids.begin(), stop_ids.end(), token) > 0) {
      expected.reason = EndReason::kStopToken;
      break;
    }
    if (stop_strings && EndsStopString(sample.id, token, position + 1)) {
      expected.reason = EndReason::kStopString;
      break;
    }
  }
  return expected;
}

}  // namespace recurve
