// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/cpu_probe.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <utility>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cpu/attention_probe.h"
#include "engine/backend/cpu/kernels/peak.h"
#include "engine/backend/cpu/layer_runner.h"
#include "engine/base/check.h"
#include "engine/base/mix_bits.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

constexpr uint32_t kStreams = 8;  // places that a thread reads at once: one reaches two thirds
constexpr size_t kPage = 4096;
constexpr size_t kLine = 64;
constexpr double kSecondsOfTime = 0.02;
// About a millisecond. The best of several: on a busy machine one of the threads may have to wait.
constexpr uint64_t kRoundsOfPeak = 4096;
constexpr uint32_t kPeaks = 5;

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Reads all of `bytes` but some lines, from kStreams places at once.
uint64_t ReadAll(const std::byte* memory, size_t bytes) {
  // An odd number of lines apart, or all places would fall into the same sets of the caches.
  const size_t part = (bytes / kStreams / kLine - 1) / 2 * 2 * kLine + kLine;
  std::array<uint64_t, kStreams> sums{};
  for (size_t at = 0; at < part; at += kLine) {
    for (uint32_t stream = 0; stream < kStreams; ++stream) {
      // A word of a line brings all of it.
      sums[stream] += *reinterpret_cast<const uint64_t*>(memory + stream * part + at);
    }
  }
  uint64_t sum = 0;
  for (const uint64_t of_stream : sums) sum += of_stream;
  return sum;
}

// About normal numbers of magnitude `scale`.
std::vector<float> RandomFloats(size_t count, float scale, uint64_t seed) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    const uint64_t word = MixBits(seed + i * kGoldenGamma);
    const auto first = static_cast<int32_t>(static_cast<uint32_t>(word));
    const auto second = static_cast<int32_t>(static_cast<uint32_t>(word >> 32));
    values[i] =
        (static_cast<float>(first) + static_cast<float>(second)) * (0x1p-31F * 1.2F * scale);
  }
  return values;
}

}  // namespace

size_t UncachedBytes() {
  // Some systems count the caches of all processors together, which one cannot use.
  static constexpr int64_t kLeast = 128 << 20;
  static constexpr int64_t kMost = 320 << 20;
  static const size_t bytes = [] {
    const int64_t cache = sysconf(_SC_LEVEL3_CACHE_SIZE);  // 0 or less where it is not known
    return static_cast<size_t>(std::clamp(3 * cache, kLeast, kMost));
  }();
  return bytes;
}

absl::StatusOr<std::unique_ptr<CpuProbe>> CpuProbe::Create(Isa isa, Precision precision,
                                                           uint32_t threads, size_t bytes) {
  ASSIGN_OR_RETURN(std::unique_ptr<ThreadTeam> team, ThreadTeam::Create(threads));
  ASSIGN_OR_RETURN(HugeBuffer memory, HugeBuffer::Allocate(bytes));
  std::unique_ptr<CpuProbe> probe(new CpuProbe(isa, precision, std::move(team), std::move(memory)));
  // Pages that nobody has written are all the same one.
  std::byte* const data = probe->memory_.data();
  probe->team_->Run([&](uint32_t thread) {
    const RowRange part = PartOfThread(probe->memory_.size() / kPage, thread, probe->team_->size());
    for (size_t page = part.begin; page < part.end; ++page) data[page * kPage] = std::byte{1};
  });
  return probe;
}

CpuProbe::CpuProbe(Isa isa, Precision precision, std::unique_ptr<ThreadTeam> team,
                   HugeBuffer memory)
    : isa_(isa), precision_(precision), team_(std::move(team)), memory_(std::move(memory)) {}

double CpuProbe::SecondsOfRead() {
  std::atomic<uint64_t> sum{0};
  const auto begin = std::chrono::steady_clock::now();
  team_->Run([&](uint32_t thread) {
    // Each thread reads a part of whole pages.
    const RowRange part = PartOfThread(memory_.size() / (kStreams * kPage), thread, team_->size());
    sum += ReadAll(memory_.data() + size_t{part.begin} * kStreams * kPage,
                   size_t{part.end - part.begin} * kStreams * kPage);
  });
  const double seconds = SecondsSince(begin);
  RECURVE_CHECK(sum > 0);  // so that the reads are not left out
  return seconds;
}

double CpuProbe::SecondsOfPeak(uint64_t rounds, double& flops) {
  std::atomic<uint64_t> sum{0};
  const auto begin = std::chrono::steady_clock::now();
  team_->Run([&](uint32_t) { sum += RunPeak(isa_, precision_, rounds); });
  flops = static_cast<double>(sum);
  return SecondsSince(begin);
}

MachineRates CpuProbe::Measure() {
  MachineRates rates;
  rates.bytes_per_second = static_cast<double>(memory_.size()) / SecondsOfRead();
  for (uint32_t i = 0; i < kPeaks; ++i) {
    double flops = 0;
    const double seconds = SecondsOfPeak(kRoundsOfPeak, flops);
    rates.flops_per_second = std::max(rates.flops_per_second, flops / seconds);
  }
  return rates;
}

absl::Status CpuProbe::Load(const ProductShape& shape, uint32_t most_rows) {
  using Use = ProductShape::Use;
  matrices_.clear();
  epilogue_ = shape.use == Use::kGate  ? Epilogue::kSilu
              : shape.use == Use::kAdd ? Epilogue::kAdd
                                       : Epilogue::kStore;
  const bool gated = shape.use == Use::kGate;
  // Of magnitudes that keep a result's, so that what a sum adds up to stays finite.
  const std::vector<float> weights =
      RandomFloats(size_t{shape.outputs} * shape.inputs, 0.02F, shape.outputs);
  const uint32_t part_rows = gated ? shape.outputs / 2 : shape.outputs;
  std::vector<Tensor> parts;
  for (uint32_t row = 0; row < shape.outputs; row += part_rows) {
    const float* const data = weights.data() + size_t{row} * shape.inputs;
    parts.push_back({.type = DataType::kF32,
                     .rows = part_rows,
                     .columns = shape.inputs,
                     .data = reinterpret_cast<const std::byte*>(data)});
  }
  const auto order = gated ? PackedMatrix::Order::kInterleaved : PackedMatrix::Order::kConcatenated;
  HugeArena arena;  // as a model has one
  do {
    ASSIGN_OR_RETURN(matrices_.emplace_back(),
                     PackedMatrix::Create(parts, order, precision_, arena));
    PackedMatrix& matrix = matrices_.back();
    team_->Run([&](uint32_t thread) {
      const RowRange part = PartOfThread(matrix.panels(), thread, team_->size());
      matrix.Fill(parts, part.begin, part.end);
    });
  } while (all_bytes() < memory_.size());
  RETURN_IF_ERROR(in_.Allocate(most_rows, shape.inputs, precision_));
  for (uint32_t row = 0; row < most_rows; ++row) {
    const std::vector<float> x = RandomFloats(shape.inputs, 1.0F, ~uint64_t{row});
    const Kernels& kernels = KernelsFor(isa_);
    if (precision_ == Precision::kInt8) {
      *in_.scales(row) = kernels.quantize(x.data(), shape.inputs, in_.numbers(row));
    } else {
      kernels.round(x.data(), shape.inputs, precision_, in_.row(row));
    }
  }
  RETURN_IF_ERROR(out_.Allocate(most_rows, matrices_.front().outputs(), Precision::kF32));
  blockings_.assign(team_->size(), BlockingChoices());
  return scratch_.Allocate(team_->size(), LinearScratch(matrices_.front()), Precision::kF32);
}

// `count` products, as layers have them: all threads wait for each other after each.
void CpuProbe::RunProducts(uint32_t rows, uint64_t count) {
  const bool int8 = precision_ == Precision::kInt8;
  const auto linear = int8 ? KernelsFor(isa_).linear_int8 : KernelsFor(isa_).linear;
  team_->Run([&](uint32_t thread) {
    const RowRange part = PartOfThread(matrices_.front().panels(), thread, team_->size());
    for (uint64_t i = 0; i < count; ++i) {
      LinearArgs args;
      args.weights = &matrices_[(products_ + i) % matrices_.size()];
      args.next = matrices_[(products_ + i + 1) % matrices_.size()].panel(part.begin);
      args.panel_begin = part.begin;
      args.panel_end = part.end;
      args.rows = rows;
      args.x = in_.row(0);
      args.x_stride = in_.stride();
      args.epilogue = epilogue_;
      args.y = out_.row(0);
      args.y_stride = out_.stride();
      args.scratch = scratch_.floats(thread);
      args.blockings = &blockings_[thread];
      if (int8) args.x_scales = in_.scales(0);
      linear(args);
      team_->Barrier(thread);
    }
  });
  products_ += count;
}

absl::StatusOr<std::vector<AttentionFigures>> CpuProbe::MeasureAttention(const ModelConfig& config,
                                                                         Precision kv_precision,
                                                                         uint32_t rounds,
                                                                         uint64_t seed) {
  return recurve::MeasureAttention(config, isa_, kv_precision, rounds, seed);
}

double CpuProbe::Time(uint32_t rows) {
  const auto warm = std::chrono::steady_clock::now();
  RunProducts(rows, 1);
  const double one = std::max(SecondsSince(warm), 1e-7);
  const auto count = static_cast<uint64_t>(std::max(1.0, kSecondsOfTime / one));
  const auto begin = std::chrono::steady_clock::now();
  RunProducts(rows, count);
  return SecondsSince(begin) / static_cast<double>(count);
}

}  // namespace recurve
