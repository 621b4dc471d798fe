// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/runtime_cuda.h"

#include <cuda_runtime_api.h>

#include <array>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/backend/cuda/cublas_lt.h"
#include "engine/backend/cuda/device_choice.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace recurve::cuda {
namespace {

// What a call answered, as a status that names it.
absl::Status ToStatus(cudaError_t error, const std::string& call) {
  if (error == cudaSuccess) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat(call, ": ", cudaGetErrorName(error), ", ", cudaGetErrorString(error)));
}

FoundDevices FindDevices() {
  FoundDevices found;
  found.needed = CUDART_VERSION;
  cudaDriverGetVersion(&found.driver);
  const cudaError_t error = cudaGetDeviceCount(&found.devices);
  if (error == cudaSuccess && found.devices > 0) return found;
  found.devices = 0;
  found.driver_too_old = error == cudaErrorInsufficientDriver;
  found.error = cudaGetErrorString(error == cudaSuccess ? cudaErrorNoDevice : error);
  return found;
}

class CudaRuntime final : public Runtime {
 public:
  explicit CudaRuntime(DeviceFacts facts) : facts_(std::move(facts)) {}

  // A device that hangs would keep the driver from freeing anything; the process that owns it ends
  // soon, which frees all.
  ~CudaRuntime() override {
    if (stream_ == nullptr || cudaStreamQuery(stream_) == cudaErrorNotReady) return;
    for (const cudaGraphExec_t graph : graphs_) cudaGraphExecDestroy(graph);
    for (const cudaEvent_t mark : marks_) cudaEventDestroy(mark);
    for (void* const memory : memory_) cudaFree(memory);
    for (void* const memory : mapped_) cudaFreeHost(memory);
    cudaStreamDestroy(stream_);
  }

  absl::Status Open() {
    RETURN_IF_ERROR(ToStatus(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
                             "cudaStreamCreateWithFlags"));
    for (cudaEvent_t& mark : marks_) {
      RETURN_IF_ERROR(ToStatus(cudaEventCreateWithFlags(&mark, cudaEventDisableTiming),
                               "cudaEventCreateWithFlags"));
    }
    return absl::OkStatus();
  }

  const DeviceFacts& facts() const override { return facts_; }

  absl::StatusOr<uint64_t> FreeBytes() override {
    size_t free = 0;
    size_t all = 0;
    RETURN_IF_ERROR(ToStatus(cudaMemGetInfo(&free, &all), "cudaMemGetInfo"));
    return free;
  }

  absl::StatusOr<DeviceMemory> DoAllocate(std::string_view name, size_t bytes) override {
    void* memory = nullptr;
    RETURN_IF_ERROR(Allocated(name, bytes, cudaMalloc(&memory, bytes)));
    memory_.push_back(memory);
    return DeviceMemory{static_cast<std::byte*>(memory), bytes, nullptr};
  }

  absl::StatusOr<MappedMemory> DoAllocateMapped(std::string_view name, size_t bytes) override {
    void* host = nullptr;
    void* device = nullptr;
    RETURN_IF_ERROR(Allocated(name, bytes, cudaHostAlloc(&host, bytes, cudaHostAllocMapped)));
    mapped_.push_back(host);
    RETURN_IF_ERROR(
        ToStatus(cudaHostGetDevicePointer(&device, host, 0), "cudaHostGetDevicePointer"));
    return MappedMemory{static_cast<std::byte*>(host),
                        {static_cast<std::byte*>(device), bytes, nullptr}};
  }

  absl::Status Clear(const DeviceMemory& memory) override {
    return ToStatus(cudaMemsetAsync(memory.data, 0, memory.bytes, stream_), "cudaMemsetAsync");
  }

  absl::Status Upload(const DeviceMemory& memory, size_t offset, const void* source,
                      size_t bytes) override {
    RETURN_IF_ERROR(ToStatus(
        cudaMemcpyAsync(memory.data + offset, source, bytes, cudaMemcpyHostToDevice, stream_),
        "cudaMemcpyAsync to the device"));
    return ToStatus(cudaStreamSynchronize(stream_), "cudaStreamSynchronize after an upload");
  }

  absl::Status Download(void* target, const DeviceMemory& memory, size_t offset,
                        size_t bytes) override {
    RETURN_IF_ERROR(ToStatus(
        cudaMemcpyAsync(target, memory.data + offset, bytes, cudaMemcpyDeviceToHost, stream_),
        "cudaMemcpyAsync from the device"));
    return ToStatus(cudaStreamSynchronize(stream_), "cudaStreamSynchronize after a download");
  }

  absl::Status Copy(const DeviceMemory& target, const MappedMemory& source, size_t source_offset,
                    size_t bytes) override {
    return ToStatus(cudaMemcpyAsync(target.data, source.host + source_offset, bytes,
                                    cudaMemcpyHostToDevice, stream_),
                    "cudaMemcpyAsync of a plan");
  }

  absl::Status DoLaunch(const Kernel& kernel, const LaunchShape& shape, const void* args) override {
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(shape.blocks);
    config.blockDim = dim3(shape.threads);
    config.dynamicSmemBytes = shape.shared_bytes;
    config.stream = stream_;
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    if (shape.programmatic && facts_.architecture >= 90) {
      config.attrs = &attribute;
      config.numAttrs = 1;
    }
    RETURN_IF_ERROR(AllowSharedMemory(kernel, shape.shared_bytes));
    void* arguments[] = {const_cast<void*>(args)};
    return ToStatus(cudaLaunchKernelExC(&config, kernel.function, arguments),
                    absl::StrCat("launch of ", kernel.name));
  }

  absl::Status LoadProducts() override {
    ASSIGN_OR_RETURN(library_, CublasLt::Load());
    ASSIGN_OR_RETURN(workspace_, Allocate("workspace of cuBLASLt", CublasLt::kWorkspaceBytes));
    return absl::OkStatus();
  }

  absl::Status DoMultiply(const PlainProduct& product) override {
    RECURVE_CHECK(library_ != nullptr);
    return library_->Multiply(product, workspace_, stream_);
  }

  absl::Status BeginGraph(std::string_view name) override {
    graph_name_ = std::string(name);
    return ToStatus(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal),
                    absl::StrCat("cudaStreamBeginCapture of graph '", graph_name_, "'"));
  }

  absl::StatusOr<Graph> EndGraph() override {
    cudaGraph_t graph = nullptr;
    const std::string of_graph = absl::StrCat(" of graph '", graph_name_, "'");
    RETURN_IF_ERROR(
        ToStatus(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture" + of_graph));
    cudaGraphExec_t executable = nullptr;
    const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    RETURN_IF_ERROR(ToStatus(error, "cudaGraphInstantiate" + of_graph));
    graphs_.push_back(executable);
    return static_cast<Graph>(graphs_.size() - 1);
  }

  absl::Status Replay(Graph graph) override {
    RECURVE_CHECK(graph < graphs_.size());
    return ToStatus(cudaGraphLaunch(graphs_[graph], stream_), "cudaGraphLaunch");
  }

  absl::Status Mark(uint32_t mark) override {
    RECURVE_CHECK(mark < kMarks);
    return ToStatus(cudaEventRecord(marks_[mark], stream_), "cudaEventRecord");
  }

  absl::StatusOr<bool> Reached(uint32_t mark) override {
    RECURVE_CHECK(mark < kMarks);
    const cudaError_t error = cudaEventQuery(marks_[mark]);
    if (error == cudaErrorNotReady) return false;
    RETURN_IF_ERROR(ToStatus(error, "cudaEventQuery"));
    return true;
  }

 private:
  // Blocks get more than 48 KiB of shared memory only if that is said of the kernel.
  absl::Status AllowSharedMemory(const Kernel& kernel, size_t bytes) {
    constexpr size_t kAlwaysAllowed = size_t{48} << 10;
    if (bytes <= kAlwaysAllowed || bytes <= allowed_shared_[kernel.function]) {
      return absl::OkStatus();
    }
    allowed_shared_[kernel.function] = bytes;
    return ToStatus(
        cudaFuncSetAttribute(kernel.function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)),
        absl::StrCat(bytes, " bytes of shared memory for ", kernel.name));
  }

  absl::Status Allocated(std::string_view name, size_t bytes, cudaError_t error) {
    if (error != cudaErrorMemoryAllocation) {
      return ToStatus(error, absl::StrCat("allocation of ", std::string(name)));
    }
    cudaGetLastError();  // this error does not stick
    ASSIGN_OR_RETURN(const uint64_t free, FreeBytes());
    return NoMemory(name, bytes, free);
  }

  const DeviceFacts facts_;
  cudaStream_t stream_ = nullptr;
  std::array<cudaEvent_t, kMarks> marks_ = {};
  std::unique_ptr<CublasLt> library_;  // from LoadProducts on
  DeviceMemory workspace_;             // the library's
  std::string graph_name_;             // of the last that was begun
  std::vector<cudaGraphExec_t> graphs_;
  std::vector<void*> memory_, mapped_;
  std::map<const void*, size_t> allowed_shared_;  // by kernel
};

}  // namespace

absl::StatusOr<std::unique_ptr<Runtime>> MakeCudaRuntime(uint32_t device) {
  const FoundDevices found = FindDevices();
  RETURN_IF_ERROR(CheckFound(found, device));
  RETURN_IF_ERROR(ToStatus(cudaSetDevice(static_cast<int>(device)), "cudaSetDevice"));
  cudaDeviceProp properties = {};
  RETURN_IF_ERROR(ToStatus(cudaGetDeviceProperties(&properties, static_cast<int>(device)),
                           "cudaGetDeviceProperties"));
  DeviceFacts facts;
  facts.name = properties.name;
  facts.multiprocessors = static_cast<uint32_t>(properties.multiProcessorCount);
  facts.architecture = static_cast<uint32_t>(properties.major * 10 + properties.minor);
  facts.bytes = properties.totalGlobalMem;
  facts.shared_bytes = properties.sharedMemPerBlockOptin;
  facts.driver = static_cast<uint32_t>(found.driver);
  RETURN_IF_ERROR(CheckArchitecture(facts, device));
  auto runtime = std::make_unique<CudaRuntime>(std::move(facts));
  RETURN_IF_ERROR(runtime->Open());
  return runtime;
}

}  // namespace recurve::cuda
