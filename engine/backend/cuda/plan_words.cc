// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/plan_words.h"

#include <algorithm>
#include <cstring>

#include "engine/base/check.h"

namespace recurve::cuda {
namespace {

constexpr size_t kWordBytes = sizeof(uint32_t);
template <typename Element>
constexpr size_t kWords = sizeof(Element) / kWordBytes;

// Appends lists to words.
class Appender {
 public:
  explicit Appender(std::span<uint32_t> words) : words_(words) {}

  template <typename Element>
  WordList Append(const std::vector<Element>& list) {
    static_assert(sizeof(Element) % kWordBytes == 0 && alignof(Element) <= kWordBytes);
    const WordList place = {used_, static_cast<uint32_t>(list.size())};
    const size_t words = list.size() * kWords<Element>;
    RECURVE_CHECK(used_ + words <= words_.size());
    if (words > 0) std::memcpy(&words_[used_], list.data(), words * kWordBytes);
    used_ += static_cast<uint32_t>(words);
    return place;
  }

  uint32_t used() const { return used_; }

 private:
  std::span<uint32_t> words_;
  uint32_t used_ = kPlanHeaderWords;
};

// Copies the `count` elements from word `begin` on.
template <typename Element>
void ReadList(std::span<const uint32_t> words, uint32_t begin, uint32_t count,
              std::vector<Element>& list) {
  list.resize(count);
  if (count > 0)
    std::memcpy(static_cast<void*>(list.data()), &words[begin], count * sizeof(Element));
}

}  // namespace

size_t MostPlanWords(const BackendLimits& limits) {
  const PlanSizes most = MostOfPlan(limits);
  const size_t runs = std::min<uint64_t>(limits.slots, most.caps);
  return kPlanHeaderWords + runs * kWords<CapRun> + most.Words();
}

size_t PlanWriter::Write(const StepPlan& plan, std::span<uint32_t> words) {
  caps_ = plan.caps;
  std::stable_sort(caps_.begin(), caps_.end(),
                   [](const CapChange& a, const CapChange& b) { return a.slot < b.slot; });
  runs_.clear();
  for (uint32_t i = 0; i < caps_.size(); ++i) {
    if (runs_.empty() || runs_.back().slot != caps_[i].slot) runs_.push_back({caps_[i].slot, i, 0});
    ++runs_.back().count;
  }
  Appender appender(words);
  PlanHeader header;
  header.epoch = plan.epoch;
  header.caps_of_step = {plan.ends, plan.ends_min, plan.block_rows, plan.prompt_rows};
  header.drops = appender.Append(plan.drops);
  header.admits = appender.Append(plan.admits);
  header.evicts = appender.Append(plan.evicts);
  header.copies = appender.Append(plan.copies);
  header.pages = appender.Append(plan.pages);
  header.tokens = appender.Append(plan.tokens);
  header.caps = appender.Append(caps_);
  header.cap_runs = appender.Append(runs_);
  header.rooms = appender.Append(plan.rooms);
  header.biases = appender.Append(plan.biases);
  header.stop_ids = appender.Append(plan.stop_ids);
  std::memcpy(words.data(), &header, sizeof(header));
  return appender.used();
}

ResultLayout LayoutOfResult(const BackendLimits& limits) {
  const ResultSizes most = MostOfResult(limits);
  ResultLayout layout;
  layout.outcomes = sizeof(ResultHeader) / kWordBytes;
  layout.depths = layout.outcomes + static_cast<uint32_t>(most.outcomes * kWords<Outcome>);
  layout.logprobs = layout.depths + static_cast<uint32_t>(most.depths);
  layout.logits_rows =
      layout.logprobs + static_cast<uint32_t>(most.logprobs * kWords<TokenLogprob>);
  layout.words = layout.logits_rows + limits.ends * static_cast<uint32_t>(kWords<LogitsRow>);
  layout.words += layout.words % 2;  // headers hold words of 64 bits
  return layout;
}

void ReadResult(std::span<const uint32_t> words, const ResultLayout& layout, StepResult& result) {
  ResultHeader header;
  std::memcpy(static_cast<void*>(&header), words.data(), sizeof(header));
  result.epoch = header.epoch;
  for (uint32_t part = 0; part < kStepParts; ++part) {
    result.part_rows[part] = header.part_rows[part];
    result.part_ns[part] = header.stamps[part + 1] - header.stamps[part];
  }
  ReadList(words, layout.outcomes, header.outcomes, result.outcomes);
  ReadList(words, layout.depths, header.depths, result.depths);
  ReadList(words, layout.logprobs, header.logprobs, result.logprobs);
  ReadList(words, layout.logits_rows, header.logits_rows, result.logits_rows);
}

}  // namespace recurve::cuda
