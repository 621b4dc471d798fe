// SPDX-License-Identifier: Apache-2.0
#include "tests/simt/scan.h"

#include "engine/backend/cuda/simt.h"

namespace recurve {
namespace {

struct ScanArgs {
  simt::In<uint32_t> in;
  simt::Out<uint32_t> out;
};

RECURVE_KERNEL(1024)
Scan(ScanArgs args) {
  simt::SharedMemory shared;
  const uint32_t thread = simt::ThreadIndex();
  const uint32_t item = simt::BlockIndex() * simt::BlockSize() + thread;
  simt::SharedArray<uint32_t> from = shared.Array<uint32_t>(simt::BlockSize());
  simt::SharedArray<uint32_t> to = shared.Array<uint32_t>(simt::BlockSize());
  simt::GridWait();
  from[thread] = args.in[item];
  for (uint32_t distance = 1; distance < simt::BlockSize(); distance *= 2) {
    simt::SyncBlock();
    to[thread] = from[thread] + (thread < distance ? 0 : from[thread - distance]);
    const simt::SharedArray<uint32_t> sums = to;
    to = from;
    from = sums;
  }
  args.out.Set(item, from[thread]);
}

}  // namespace

absl::Status LaunchScan(Runtime& runtime, const DeviceMemory& in, const DeviceMemory& out,
                        uint32_t blocks, uint32_t threads) {
  const size_t items = size_t{blocks} * threads;
  const LaunchShape shape = {blocks, threads, 2 * simt::SharedBytes<uint32_t>(threads), true};
  return Launch(runtime, "scan", Scan, shape, {{in, 0, items}, {out, 0, items}});
}

}  // namespace recurve
