// SPDX-License-Identifier: Apache-2.0
// What the stages of gpu_check share: checked CUDA calls, device memory, graphs and their times.
#ifndef RECURVE_TOOLS_GPU_CHECK_PROBE_H_
#define RECURVE_TOOLS_GPU_CHECK_PROBE_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "tools/gpu_check/report.h"

namespace recurve::gpu_check {

// Ends the process with a message unless `error` is cudaSuccess: a stage has no way on after that.
void CheckCuda(cudaError_t error, const char* call, const char* file, int line);
#define CHECK_CUDA(call) ::recurve::gpu_check::CheckCuda((call), #call, __FILE__, __LINE__)

// Device memory, zeroed.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t size) : size_(size) {
    CHECK_CUDA(cudaMalloc(&data_, size * sizeof(T)));
    CHECK_CUDA(cudaMemset(data_, 0, size * sizeof(T)));
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* get() const { return data_; }
  size_t size() const { return size_; }
  std::vector<T> ToHost() const {
    std::vector<T> host(size_);
    CHECK_CUDA(cudaMemcpy(host.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }
  void FromHost(const std::vector<T>& host) {
    CHECK_CUDA(cudaMemcpy(data_, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};

double Median(std::vector<double> values);

// Host time in microseconds.
double NowUs();

// Device time of `work`, enqueued on `stream`, in microseconds: the median of `repeats` after one
// run to warm up.
double TimeUs(cudaStream_t stream, int repeats, const std::function<void()>& work);

// How the kernels of a graph follow each other.
enum class Edges { kPlain, kProgrammatic };

// A stream and the graphs captured from it.
class Graph {
 public:
  // Captures what `enqueue` launches on the stream that it is given.
  explicit Graph(const std::function<void(cudaStream_t)>& enqueue);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void Launch() { CHECK_CUDA(cudaGraphLaunch(executable_, stream_)); }
  void Synchronize() { CHECK_CUDA(cudaStreamSynchronize(stream_)); }
  // Device time of one launch in microseconds, of `queued` launched at once; median of `repeats`.
  double TimeUs(int queued, int repeats);
  size_t nodes() const { return nodes_; }
  size_t programmatic_edges() const { return programmatic_edges_; }
  cudaStream_t stream() const { return stream_; }

 private:
  cudaStream_t stream_;
  cudaGraphExec_t executable_;
  size_t nodes_ = 0;
  size_t programmatic_edges_ = 0;
};

// Launches `kernel` so that it may start before its predecessor in `stream` has ended, if `edges`
// says so. Such a kernel must wait (GridWait) before it touches what a predecessor writes.
template <typename... Parameters, typename... Arguments>
void Launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            cudaStream_t stream, Edges edges, Arguments... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &attribute;
  config.numAttrs = edges == Edges::kProgrammatic ? 1 : 0;
  CHECK_CUDA(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
}

// Enqueues a kernel that reads `size` vectors of `data`, each thread with 8 loads in flight; past
// `wrap` vectors, a power of two, it reads the first ones again. `sink` is a word of device memory.
void EnqueueRead(const uint4* data, size_t size, uint32_t* sink, cudaStream_t stream,
                 size_t wrap = size_t{1} << 62);

// Splits [0, count) over the host's threads.
void ParallelFor(uint64_t count, const std::function<void(uint64_t begin, uint64_t end)>& work);

// The stages. Each prints its lines and returns the number of findings: bits that are not as
// expected.
int FactsStage();
int MmaBitsStage();
int SharedCodeStage();
int NodesStage();
int LinearStage();

}  // namespace recurve::gpu_check

#endif  // RECURVE_TOOLS_GPU_CHECK_PROBE_H_
