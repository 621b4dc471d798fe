// SPDX-License-Identifier: Apache-2.0
#include "tests/simt/emulator.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>

#include "engine/backend/cuda/simt.h"
#include "engine/base/float_env.h"
#include "tests/simt/meetings.h"

namespace recurve {
namespace {

void SetAscending(std::vector<uint32_t>& order, size_t size) {
  order.resize(size);
  std::iota(order.begin(), order.end(), 0);
}

}  // namespace

KernelCounts Emulator::Run(const Runtime::Kernel& kernel, const LaunchShape& shape,
                           const void* args) {
  // Before any thread is made: a fiber keeps the mode that it was made in.
  const ScopedFloatEnv flush_denormals;
  block_ = {kernel, shape, args, 0, nullptr};
  Prepare();
  KernelCounts counts{.launches = 1};
  for (const uint32_t index : block_order_) {
    if (reports_->full()) break;
    block_.index = index;
    RunBlock();
    ++counts.blocks;
    for (const auto& thread : block()) {
      counts.bytes_read += thread->bytes_read();
      counts.bytes_written += thread->bytes_written();
    }
  }
  return counts;
}

void Emulator::Prepare() {
  const LaunchShape& shape = block_.shape;
  while (threads_.size() < shape.threads) {
    threads_.push_back(
        std::make_unique<EmulatedThread>(&block_, static_cast<uint32_t>(threads_.size())));
  }
  shared_.resize(shape.shared_bytes / sizeof(SharedUnit) + 1);
  block_.shared = reinterpret_cast<std::byte*>(shared_.data());
  SetAscending(block_order_, shape.blocks);
  SetAscending(warp_order_, (shape.threads + simt::kWarp - 1) / simt::kWarp);
  SetAscending(lane_order_, simt::kWarp);
  shuffler_.Shuffle(block_order_);
}

void Emulator::RunBlock() {
  std::memset(block_.shared, 0xFF, block_.shape.shared_bytes);
  for (const auto& thread : block()) thread->Begin();
  do {
    RunReady();
  } while (EndBlockMeeting(block()));
  for (const auto& thread : block()) {
    if (thread->state() == EmulatedThread::State::kStopped) reports_->Add(thread->report());
  }
  if (std::string report = MissedMeeting(block()); !report.empty()) {
    reports_->Add(std::move(report));
  }
}

void Emulator::RunReady() {
  bool has_run = true;
  while (has_run) {
    has_run = false;
    shuffler_.Shuffle(warp_order_);
    for (const uint32_t warp : warp_order_) has_run |= RunWarp(warp);
  }
}

bool Emulator::RunWarp(uint32_t index) {
  const size_t begin = size_t{index} * simt::kWarp;
  const EmulatedThreads warp =
      block().subspan(begin, std::min<size_t>(simt::kWarp, block().size() - begin));
  bool has_run = false;
  while (true) {
    bool runs = false;
    shuffler_.Shuffle(lane_order_);
    for (const uint32_t lane : lane_order_) {
      if (lane >= warp.size() || warp[lane]->state() != EmulatedThread::State::kReady) continue;
      runs = true;
      warp[lane]->Run();
    }
    if (!runs) return has_run;
    has_run = true;
    EndWarpMeeting(warp);
    if (shuffler_.Heads()) return true;  // the other warps first
  }
}

}  // namespace recurve
