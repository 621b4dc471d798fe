// SPDX-License-Identifier: Apache-2.0
// What a kernel costs as a node of a graph, what lies between two graphs, and what a barrier over
// the grid costs instead.
#include <cooperative_groups.h>

#include "tools/gpu_check/device.cuh"
#include "tools/gpu_check/probe.h"

namespace recurve::gpu_check {
namespace {

constexpr int kNodes = 66;  // of a step with ends of a model with 10 layers in its block
constexpr int kThreads = 256;

// When a kernel lets the next one start.
enum class Trigger { kFirst, kNever };

// Adds one to each of the numbers of another part of the grid, so that a kernel that runs too early
// gives a wrong sum.
__global__ void __launch_bounds__(kThreads)
    Add(const float* from, float* to, int size, Trigger trigger) {
  if (trigger == Trigger::kFirst) GridLaunch();
  GridWait();
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i < size) to[i] = from[(i + 97 * kThreads) % size] + 1.0F;
}

__global__ void Empty() {
  GridLaunch();
  GridWait();
}

__global__ void Stamp(uint64_t* stamps, int* next) {
  GridLaunch();
  GridWait();
  stamps[*next] = GlobalTimer();
  *next += 1;
}

Graph AddGraph(int nodes, int blocks, Edges edges, Trigger trigger, float* a, float* b) {
  return Graph([=](cudaStream_t stream) {
    for (int i = 0; i < nodes; ++i) {
      Launch(Add, blocks, kThreads, 0, stream, edges, i % 2 == 0 ? a : b, i % 2 == 0 ? b : a,
             blocks * kThreads, trigger);
    }
  });
}

const char* NameOf(Edges edges) { return edges == Edges::kPlain ? "plain" : "programmatic"; }

int ReportNodes() {
  int findings = 0;
  for (const int blocks : {1, 100, 264}) {
    for (const auto& [edges, trigger] : {std::pair{Edges::kPlain, Trigger::kNever},
                                         std::pair{Edges::kProgrammatic, Trigger::kNever},
                                         std::pair{Edges::kProgrammatic, Trigger::kFirst}}) {
      const int size = blocks * kThreads;
      DeviceArray<float> a(size);
      DeviceArray<float> b(size);
      Graph one = AddGraph(2, blocks, edges, trigger, a.get(), b.get());
      Graph all = AddGraph(kNodes, blocks, edges, trigger, a.get(), b.get());
      constexpr int kLaunches = 50;
      for (int i = 0; i < kLaunches; ++i) all.Launch();
      all.Synchronize();
      int wrong = 0;
      for (const float value : a.ToHost()) wrong += value != kNodes * kLaunches;
      findings += wrong > 0;
      const double all_us = all.TimeUs(20, 15);
      const double one_us = one.TimeUs(20, 15);
      std::vector<double> launches;
      for (int i = 0; i < 30; ++i) {
        const double begin = NowUs();
        all.Launch();
        launches.push_back(NowUs() - begin);
        all.Synchronize();
      }
      Report("nodes", "kernels that add one",
             {{"blocks", static_cast<double>(blocks)},
              {"edges", NameOf(edges)},
              {"trigger", trigger == Trigger::kFirst ? "first" : "never"},
              {"nodes", static_cast<double>(all.nodes())},
              {"programmatic_edges", static_cast<double>(all.programmatic_edges())},
              {"wrong", static_cast<double>(wrong)},
              {"graph_us", all_us},
              {"graph_of_two_us", one_us},
              {"node_us", (all_us - one_us) / (kNodes - 2)},
              {"host_launch_us", Median(launches)}});
    }
  }
  return findings;
}

void ReportEmpty() {
  for (const int blocks : {1, 100}) {
    for (const Edges edges : {Edges::kPlain, Edges::kProgrammatic}) {
      const auto graph_of = [&](int nodes) {
        return Graph([=](cudaStream_t stream) {
          for (int i = 0; i < nodes; ++i) Launch(Empty, blocks, kThreads, 0, stream, edges);
        });
      };
      Graph all = graph_of(kNodes);
      Graph two = graph_of(2);
      const double all_us = all.TimeUs(20, 15);
      const double two_us = two.TimeUs(20, 15);
      Report("nodes", "empty kernels",
             {{"blocks", static_cast<double>(blocks)},
              {"edges", NameOf(edges)},
              {"graph_us", all_us},
              {"node_us", (all_us - two_us) / (kNodes - 2)}});
    }
  }
}

// From the last kernel of a graph to the first of the next, which was queued before.
void ReportGaps() {
  constexpr int kGraphs = 40;
  for (const Edges edges : {Edges::kPlain, Edges::kProgrammatic}) {
    DeviceArray<uint64_t> stamps(4 * kGraphs);
    DeviceArray<int> next(1);
    const int size = 100 * kThreads;
    DeviceArray<float> a(size);
    DeviceArray<float> b(size);
    Graph graph([&](cudaStream_t stream) {
      Launch(Stamp, 1, 1, 0, stream, edges, stamps.get(), next.get());
      for (int i = 0; i < kNodes - 2; ++i) {
        Launch(Add, 100, kThreads, 0, stream, edges, i % 2 == 0 ? a.get() : b.get(),
               i % 2 == 0 ? b.get() : a.get(), size, Trigger::kFirst);
      }
      Launch(Stamp, 1, 1, 0, stream, edges, stamps.get(), next.get());
    });
    for (int i = 0; i < kGraphs; ++i) graph.Launch();
    graph.Synchronize();
    const std::vector<uint64_t> times = stamps.ToHost();
    std::vector<double> gaps;
    std::vector<double> steps;
    for (int i = 5; i + 1 < kGraphs; ++i) {
      steps.push_back(static_cast<double>(times[2 * i + 1] - times[2 * i]) / 1e3);
      gaps.push_back(static_cast<double>(times[2 * i + 2] - times[2 * i + 1]) / 1e3);
    }
    Report("nodes", "graphs queued behind each other",
           {{"edges", NameOf(edges)}, {"step_us", Median(steps)}, {"gap_us", Median(gaps)}});
  }
}

__global__ void __launch_bounds__(kThreads) CooperativeBarriers(int count) {
  for (int i = 0; i < count; ++i) cooperative_groups::this_grid().sync();
}

// A barrier of one counter: the blocks of a cooperative launch all run at once.
__global__ void __launch_bounds__(kThreads) TicketBarriers(unsigned* counter, int count) {
  for (int i = 1; i <= count; ++i) {
    __syncthreads();
    if (threadIdx.x == 0) {
      __threadfence();
      atomicAdd(counter, 1U);
      while (*reinterpret_cast<volatile unsigned*>(counter) < gridDim.x * i) {
      }
      __threadfence();
    }
    __syncthreads();
  }
}

void ReportBarriers() {
  int multiprocessors = 0;
  CHECK_CUDA(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0));
  DeviceArray<unsigned> counter(1);
  const auto time_of = [&](int count, bool ticket) {
    return TimeUs(nullptr, 9, [&] {
      CHECK_CUDA(cudaMemsetAsync(counter.get(), 0, sizeof(unsigned)));
      unsigned* address = counter.get();
      void* ticket_arguments[] = {&address, &count};
      void* plain_arguments[] = {&count};
      CHECK_CUDA(
          cudaLaunchCooperativeKernel(ticket ? reinterpret_cast<const void*>(TicketBarriers)
                                             : reinterpret_cast<const void*>(CooperativeBarriers),
                                      dim3(multiprocessors), dim3(kThreads),
                                      ticket ? ticket_arguments : plain_arguments, 0, nullptr));
    });
  };
  constexpr int kBarriers = 200;
  Report("nodes", "barrier over a grid of one block a multiprocessor",
         {{"cooperative_groups_us", (time_of(kBarriers, false) - time_of(0, false)) / kBarriers},
          {"ticket_us", (time_of(kBarriers, true) - time_of(0, true)) / kBarriers}});
}

}  // namespace

int NodesStage() {
  ReportEmpty();
  const int findings = ReportNodes();
  ReportGaps();
  ReportBarriers();
  return findings;
}

}  // namespace recurve::gpu_check
