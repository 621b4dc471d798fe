// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_check/probe.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "tools/gpu_check/device.cuh"

namespace recurve::gpu_check {
namespace {

__global__ void __launch_bounds__(256)
    Read(const uint4* data, size_t size, size_t mask, uint32_t* sink) {
  const size_t threads = size_t{gridDim.x} * blockDim.x;
  uint32_t mixed = 0;
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < size; i += threads * 8) {
    uint4 value[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      value[j] = i + threads * j < size ? LoadConstant(data + ((i + threads * j) & mask))
                                        : uint4{0, 0, 0, 0};
    }
#pragma unroll
    for (const uint4& v : value) mixed ^= v.x ^ v.y ^ v.z ^ v.w;
  }
  if (mixed == 0x12345678) *sink = mixed;  // hardly ever, but the loads must be made
}

}  // namespace

void CheckCuda(cudaError_t error, const char* call, const char* file, int line) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s:%d: %s: %s (%s)\n", file, line, call, cudaGetErrorString(error),
               cudaGetErrorName(error));
  std::exit(2);
}

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double NowUs() {
  return std::chrono::duration<double, std::micro>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double TimeUs(cudaStream_t stream, int repeats, const std::function<void()>& work) {
  cudaEvent_t begin;
  cudaEvent_t end;
  CHECK_CUDA(cudaEventCreate(&begin));
  CHECK_CUDA(cudaEventCreate(&end));
  work();
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    CHECK_CUDA(cudaEventRecord(begin, stream));
    work();
    CHECK_CUDA(cudaEventRecord(end, stream));
    CHECK_CUDA(cudaEventSynchronize(end));
    float ms = 0;
    CHECK_CUDA(cudaEventElapsedTime(&ms, begin, end));
    times.push_back(ms * 1000.0);
  }
  CHECK_CUDA(cudaEventDestroy(begin));
  CHECK_CUDA(cudaEventDestroy(end));
  return Median(times);
}

Graph::Graph(const std::function<void(cudaStream_t)>& enqueue) {
  CHECK_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  cudaGraph_t graph;
  CHECK_CUDA(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  enqueue(stream_);
  CHECK_CUDA(cudaStreamEndCapture(stream_, &graph));
  CHECK_CUDA(cudaGraphGetNodes(graph, nullptr, &nodes_));
  size_t edges = 0;
  CHECK_CUDA(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &edges));
  std::vector<cudaGraphNode_t> from(edges);
  std::vector<cudaGraphNode_t> to(edges);
  std::vector<cudaGraphEdgeData> data(edges);
  if (edges > 0) {
    CHECK_CUDA(cudaGraphGetEdges(graph, from.data(), to.data(), data.data(), &edges));
  }
  for (const cudaGraphEdgeData& edge : data) {
    if (edge.type == cudaGraphDependencyTypeProgrammatic) ++programmatic_edges_;
  }
  CHECK_CUDA(cudaGraphInstantiate(&executable_, graph, 0));
  CHECK_CUDA(cudaGraphDestroy(graph));
  CHECK_CUDA(cudaGraphUpload(executable_, stream_));
}

Graph::~Graph() {
  cudaStreamSynchronize(stream_);
  cudaGraphExecDestroy(executable_);
  cudaStreamDestroy(stream_);
}

double Graph::TimeUs(int queued, int repeats) {
  const double all = gpu_check::TimeUs(stream_, repeats, [&] {
    for (int i = 0; i < queued; ++i) Launch();
  });
  return all / queued;
}

void EnqueueRead(const uint4* data, size_t size, uint32_t* sink, cudaStream_t stream, size_t wrap) {
  int multiprocessors = 0;
  CHECK_CUDA(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0));
  const size_t blocks = std::min<size_t>(multiprocessors * 8, (size + 2047) / 2048);
  Read<<<static_cast<unsigned>(blocks), 256, 0, stream>>>(data, size, wrap - 1, sink);
  CHECK_CUDA(cudaGetLastError());
}

void ParallelFor(uint64_t count, const std::function<void(uint64_t, uint64_t)>& work) {
  const uint64_t threads = std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::thread> pool;
  for (uint64_t i = 0; i < threads; ++i) {
    pool.emplace_back([&, i] { work(count * i / threads, count * (i + 1) / threads); });
  }
  for (std::thread& thread : pool) thread.join();
}

}  // namespace recurve::gpu_check

namespace {

struct Stage {
  const char* name;
  const char* question;
  int (*run)();
};

constexpr Stage kStages[] = {
    {"facts", "the device; bandwidth; timers; latencies of launches and mapped memory",
     recurve::gpu_check::FactsStage},
    {"mma_bits", "whether mma.sync and wgmma have the bits of the model of their sum",
     recurve::gpu_check::MmaBitsStage},
    {"shared_code", "whether code shared by host and device gives equal bits on both",
     recurve::gpu_check::SharedCodeStage},
    {"nodes", "what a kernel costs in a graph, with plain and programmatic edges",
     recurve::gpu_check::NodesStage},
    {"linear", "the packed matrix product: bits, share of the bandwidth, a chain of layers",
     recurve::gpu_check::LinearStage},
};

}  // namespace

int main(int argc, char** argv) {
  const std::string wanted = argc == 2 ? argv[1] : "--help";
  for (const Stage& stage : kStages) {
    if (wanted != stage.name) continue;
    const int findings = stage.run();
    recurve::gpu_check::Report(stage.name, "end", {{"findings", static_cast<double>(findings)}});
    return findings == 0 ? 0 : 1;
  }
  std::printf(
      "Usage: recurve-gpu-check STAGE\n\nPrints a JSON line for each measurement. Stages:\n");
  for (const Stage& stage : kStages) std::printf("  %-12s %s\n", stage.name, stage.question);
  std::printf("Exit status: 0; 1 where bits are not as expected; 2 where a call failed.\n");
  return wanted == "--help" ? 0 : 2;
}
