// SPDX-License-Identifier: Apache-2.0
// What the device is, how fast it moves bytes, and how long host and device take to notice each
// other.
#include <atomic>
#include <thread>

#include "engine/base/mix_bits.h"
#include "tools/gpu_check/device.cuh"
#include "tools/gpu_check/probe.h"

namespace recurve::gpu_check {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr uint64_t kPatienceNs = 2'000'000'000;  // a kernel that waits for the host gives up then

int Attribute(cudaDeviceAttr attribute) {
  int value = 0;
  CHECK_CUDA(cudaDeviceGetAttribute(&value, attribute, 0));
  return value;
}

void ReportDevice() {
  cudaDeviceProp device;
  CHECK_CUDA(cudaGetDeviceProperties(&device, 0));
  int driver = 0;
  int runtime = 0;
  CHECK_CUDA(cudaDriverGetVersion(&driver));
  CHECK_CUDA(cudaRuntimeGetVersion(&runtime));
  size_t free = 0;
  size_t total = 0;
  CHECK_CUDA(cudaMemGetInfo(&free, &total));
  const double memory_khz = Attribute(cudaDevAttrMemoryClockRate);
  Report("facts", "device",
         {{"device", device.name},
          {"compute_capability", device.major + 0.1 * device.minor},
          {"cuda_of_driver", static_cast<double>(driver)},
          {"cuda_of_runtime", static_cast<double>(runtime)},
          {"multiprocessors", static_cast<double>(device.multiProcessorCount)},
          {"l2_mib", static_cast<double>(device.l2CacheSize) / kMiB},
          {"shared_per_multiprocessor_kib", device.sharedMemPerMultiprocessor / 1024.0},
          {"shared_per_block_kib", device.sharedMemPerBlockOptin / 1024.0},
          {"registers_per_multiprocessor", static_cast<double>(device.regsPerMultiprocessor)},
          {"most_clock_mhz", Attribute(cudaDevAttrClockRate) / 1000.0},
          {"memory_clock_mhz", memory_khz / 1000.0},
          {"memory_bus_bits", static_cast<double>(device.memoryBusWidth)},
          {"datasheet_gb_s", memory_khz * 1000 * 2 * device.memoryBusWidth / 8 / 1e9},
          {"free_gib", static_cast<double>(free) / (1024.0 * kMiB)},
          {"total_gib", static_cast<double>(total) / (1024.0 * kMiB)}});
}

__global__ void FillRandom(uint4* data, size_t size) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < size;
       i += size_t{gridDim.x} * blockDim.x) {
    const uint64_t low = MixBits(i);
    const uint64_t high = MixBits(~i);
    data[i] = {static_cast<uint32_t>(low), static_cast<uint32_t>(low >> 32),
               static_cast<uint32_t>(high), static_cast<uint32_t>(high >> 32)};
  }
}

__global__ void __launch_bounds__(256) Copy(const uint4* from, uint4* to, size_t size) {
  const size_t threads = size_t{gridDim.x} * blockDim.x;
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < size; i += threads * 4) {
    uint4 value[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (i + threads * j < size) value[j] = LoadConstant(from + i + threads * j);
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (i + threads * j < size) to[i + threads * j] = value[j];
    }
  }
}

// Kernels of one size after another in a graph, over slices of a large buffer, so that none finds
// its data in the L2.
void ReportBandwidth() {
  constexpr size_t kAll = 4096 * kMiB;
  const int multiprocessors = Attribute(cudaDevAttrMultiProcessorCount);
  DeviceArray<uint4> data(kAll / sizeof(uint4));
  DeviceArray<uint32_t> sink(1);
  FillRandom<<<multiprocessors * 8, 256>>>(data.get(), data.size());
  CHECK_CUDA(cudaDeviceSynchronize());
  for (const size_t mib : {2, 8, 20, 64, 128, 256, 1024, 4096}) {
    const size_t size = mib * kMiB / sizeof(uint4);
    const size_t kernels = std::max<size_t>(1, std::min<size_t>(64, data.size() / size));
    Graph graph([&](cudaStream_t stream) {
      for (size_t i = 0; i < kernels; ++i) {
        EnqueueRead(data.get() + i * size, size, sink.get(), stream);
      }
    });
    const double us = graph.TimeUs(1, 9) / static_cast<double>(kernels);
    Report("facts", "read",
           {{"mib", static_cast<double>(mib)},
            {"kernels", static_cast<double>(kernels)},
            {"us", us},
            {"gb_s", static_cast<double>(mib * kMiB) / us / 1e3}});
  }
  const size_t half = data.size() / 2;
  for (const size_t mib : {64, 256, 2048}) {
    const size_t size = mib * kMiB / sizeof(uint4);
    const double kernel_us = TimeUs(nullptr, 9, [&] {
      Copy<<<multiprocessors * 8, 256>>>(data.get(), data.get() + half, size);
    });
    const double api_us = TimeUs(nullptr, 9, [&] {
      CHECK_CUDA(cudaMemcpyAsync(data.get() + half, data.get(), mib * kMiB,
                                 cudaMemcpyDeviceToDevice, nullptr));
    });
    Report("facts", "copy, bytes read and written",
           {{"mib", static_cast<double>(mib)},
            {"kernel_gb_s", 2.0 * mib * kMiB / kernel_us / 1e3},
            {"memcpy_gb_s", 2.0 * mib * kMiB / api_us / 1e3}});
  }
  // A few MiB again and again: from the L2.
  for (const size_t mib : {2, 8, 16, 32}) {
    const double us = TimeUs(nullptr, 9, [&] {
      EnqueueRead(data.get(), data.size(), sink.get(), nullptr, mib * kMiB / sizeof(uint4));
    });
    Report("facts", "read again and again",
           {{"mib", static_cast<double>(mib)}, {"gb_s", static_cast<double>(kAll) / us / 1e3}});
  }
}

// The steps of %globaltimer, and cycles and nanoseconds of one stretch.
__global__ void Timers(uint64_t* out) {
  uint64_t least = ~uint64_t{0};
  uint64_t steps = 0;
  const uint64_t begin = GlobalTimer();
  const long long begin_cycles = clock64();
  uint64_t last = begin;
  while (last - begin < 2'000'000) {
    const uint64_t now = GlobalTimer();
    if (now == last) continue;
    least = min(least, now - last);
    ++steps;
    last = now;
  }
  out[0] = least;
  out[1] = (last - begin) / steps;
  out[2] = static_cast<uint64_t>(clock64() - begin_cycles);
  out[3] = last - begin;
}

void ReportTimers() {
  DeviceArray<uint64_t> out(4);
  Timers<<<1, 1>>>(out.get());
  const std::vector<uint64_t> times = out.ToHost();
  Report("facts", "%globaltimer",
         {{"least_step_ns", static_cast<double>(times[0])},
          {"mean_step_ns", static_cast<double>(times[1])},
          {"clock_mhz", 1e3 * static_cast<double>(times[2]) / static_cast<double>(times[3])}});
}

__global__ void Nothing() {}

template <typename Work>
double HostUs(int repeats, const Work& work) {
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    const double begin = NowUs();
    work();
    times.push_back(NowUs() - begin);
  }
  return Median(times);
}

__global__ void Publish(uint32_t* flag, uint32_t value) {
  __threadfence_system();
  *reinterpret_cast<volatile uint32_t*>(flag) = value;
}

// Host memory that the device sees too.
struct Mapped {
  explicit Mapped(size_t bytes) {
    CHECK_CUDA(cudaHostAlloc(&host, bytes, cudaHostAllocMapped));
    CHECK_CUDA(cudaHostGetDevicePointer(&device, host, 0));
    std::fill_n(static_cast<char*>(host), bytes, 0);
  }
  ~Mapped() { cudaFreeHost(host); }
  void* host = nullptr;
  void* device = nullptr;
};

// Whether the flag gets the value within the patience.
bool AwaitFlag(const volatile uint32_t* flag, uint32_t value) {
  const double begin = NowUs();
  while (*flag != value) {
    if (NowUs() - begin > kPatienceNs / 1e3) return false;
  }
  std::atomic_thread_fence(std::memory_order_acquire);
  return true;
}

void ReportLaunches() {
  cudaEvent_t event;
  CHECK_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  Mapped flag(64);
  auto* device_flag = static_cast<uint32_t*>(flag.device);
  const auto* host_flag = static_cast<volatile uint32_t*>(flag.host);
  for (int i = 0; i < 100; ++i) Nothing<<<1, 32>>>();
  CHECK_CUDA(cudaDeviceSynchronize());
  const double launch = HostUs(200, [] { Nothing<<<1, 32>>>(); });
  CHECK_CUDA(cudaDeviceSynchronize());
  const double to_stream = HostUs(200, [] {
    Nothing<<<1, 32>>>();
    CHECK_CUDA(cudaStreamSynchronize(nullptr));
  });
  const double to_event = HostUs(200, [&] {
    Nothing<<<1, 32>>>();
    CHECK_CUDA(cudaEventRecord(event));
    CHECK_CUDA(cudaEventSynchronize(event));
  });
  const double to_query = HostUs(200, [&] {
    Nothing<<<1, 32>>>();
    CHECK_CUDA(cudaEventRecord(event));
    while (cudaEventQuery(event) == cudaErrorNotReady) {
    }
  });
  const double record = HostUs(200, [&] { CHECK_CUDA(cudaEventRecord(event)); });
  CHECK_CUDA(cudaDeviceSynchronize());
  const double query = HostUs(200, [&] { CHECK_CUDA(cudaEventQuery(event)); });
  uint32_t value = 0;
  bool seen = true;
  const double to_flag = HostUs(200, [&] {
    Publish<<<1, 1>>>(device_flag, ++value);
    seen = seen && AwaitFlag(host_flag, value);
  });
  Report("facts", "host",
         {{"launch_us", launch},
          {"launch_to_stream_synchronize_us", to_stream},
          {"launch_to_event_synchronize_us", to_event},
          {"launch_to_event_query_us", to_query},
          {"launch_to_mapped_flag_us", to_flag},
          {"event_record_us", record},
          {"event_query_us", query},
          {"flags_seen", seen ? 1.0 : 0.0}});
  CHECK_CUDA(cudaEventDestroy(event));
}

// Answers each number that the host writes; ends early if one does not come.
__global__ void Answer(const volatile uint32_t* question, volatile uint32_t* answer,
                       uint32_t count) {
  for (uint32_t i = 1; i <= count; ++i) {
    const uint64_t begin = GlobalTimer();
    while (*question != i) {
      if (GlobalTimer() - begin > kPatienceNs) return;
    }
    *answer = i;
  }
}

// Cycles of reads of mapped memory, one after the other.
__global__ void ReadMapped(const volatile uint32_t* data, int count, long long* cycles) {
  uint32_t next = 0;
  const long long begin = clock64();
  for (int i = 0; i < count; ++i) next = data[next];
  cycles[0] = clock64() - begin + next;  // `next` is 0
}

// One block moves `size` vectors from mapped to device memory or back; nanoseconds.
__global__ void MoveMapped(const uint4* from, uint4* to, int size, uint64_t* ns) {
  const uint64_t begin = GlobalTimer();
  for (int i = static_cast<int>(threadIdx.x); i < size; i += static_cast<int>(blockDim.x)) {
    to[i] = from[i];
  }
  __threadfence_system();
  __syncthreads();
  if (threadIdx.x == 0) ns[0] = GlobalTimer() - begin;
}

void ReportMapped() {
  Mapped question(64);
  Mapped answer(64);
  constexpr uint32_t kRounds = 2000;
  Answer<<<1, 1>>>(static_cast<uint32_t*>(question.device), static_cast<uint32_t*>(answer.device),
                   kRounds);
  CHECK_CUDA(cudaGetLastError());
  std::vector<double> rounds;
  for (uint32_t i = 1; i <= kRounds; ++i) {
    const double begin = NowUs();
    *static_cast<volatile uint32_t*>(question.host) = i;
    if (!AwaitFlag(static_cast<volatile uint32_t*>(answer.host), i)) break;
    rounds.push_back(NowUs() - begin);
  }
  CHECK_CUDA(cudaDeviceSynchronize());
  DeviceArray<long long> cycles(1);
  constexpr int kReads = 200;
  ReadMapped<<<1, 1>>>(static_cast<uint32_t*>(question.device) + 1, kReads, cycles.get());
  Report("facts", "mapped memory",
         {{"rounds", static_cast<double>(rounds.size())},
          {"host_to_device_to_host_us", rounds.empty() ? -1.0 : Median(rounds)},
          {"device_read_cycles", static_cast<double>(cycles.ToHost()[0]) / kReads}});

  constexpr int kMost = 64 << 10;
  Mapped block(kMost);
  DeviceArray<uint4> data(kMost / sizeof(uint4));
  DeviceArray<uint64_t> ns(1);
  for (const int bytes : {256, 4 << 10, 16 << 10, 64 << 10}) {
    std::vector<double> reads;
    std::vector<double> writes;
    const int size = bytes / static_cast<int>(sizeof(uint4));
    for (int i = 0; i < 21; ++i) {
      MoveMapped<<<1, 1024>>>(static_cast<uint4*>(block.device), data.get(), size, ns.get());
      reads.push_back(static_cast<double>(ns.ToHost()[0]) / 1e3);
      MoveMapped<<<1, 1024>>>(data.get(), static_cast<uint4*>(block.device), size, ns.get());
      writes.push_back(static_cast<double>(ns.ToHost()[0]) / 1e3);
    }
    Report("facts", "mapped block, by 1,024 threads",
           {{"bytes", static_cast<double>(bytes)},
            {"read_us", Median(reads)},
            {"write_and_fence_us", Median(writes)}});
  }
}

}  // namespace

int FactsStage() {
  ReportDevice();
  ReportTimers();
  ReportLaunches();
  ReportMapped();
  ReportBandwidth();
  return 0;
}

}  // namespace recurve::gpu_check
