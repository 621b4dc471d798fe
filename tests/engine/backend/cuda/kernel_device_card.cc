// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "engine/backend/cuda/runtime_cuda.h"
#include "tests/engine/backend/cuda/kernel_device.h"

namespace recurve::cuda {
namespace {

// A card, for which kernels are cut as if it had another number of multiprocessors.
class CutRuntime final : public Runtime {
 public:
  CutRuntime(std::unique_ptr<Runtime> card, uint32_t multiprocessors)
      : card_(std::move(card)), facts_(card_->facts()) {
    facts_.multiprocessors = multiprocessors;
  }

  const DeviceFacts& facts() const override { return facts_; }
  absl::StatusOr<uint64_t> FreeBytes() override { return card_->FreeBytes(); }
  absl::Status Clear(const DeviceMemory& memory) override { return card_->Clear(memory); }
  absl::Status Upload(const DeviceMemory& memory, size_t offset, const void* source,
                      size_t bytes) override {
    return card_->Upload(memory, offset, source, bytes);
  }
  absl::Status Download(void* target, const DeviceMemory& memory, size_t offset,
                        size_t bytes) override {
    return card_->Download(target, memory, offset, bytes);
  }
  absl::Status Copy(const DeviceMemory& target, const MappedMemory& source, size_t source_offset,
                    size_t bytes) override {
    return card_->Copy(target, source, source_offset, bytes);
  }
  absl::Status LoadProducts() override { return card_->LoadProducts(); }
  absl::Status BeginGraph(std::string_view name) override { return card_->BeginGraph(name); }
  absl::StatusOr<Graph> EndGraph() override { return card_->EndGraph(); }
  absl::Status Replay(Graph graph) override { return card_->Replay(graph); }
  absl::Status Mark(uint32_t mark) override { return card_->Mark(mark); }
  absl::StatusOr<bool> Reached(uint32_t mark) override { return card_->Reached(mark); }

 protected:
  absl::StatusOr<DeviceMemory> DoAllocate(std::string_view name, size_t bytes) override {
    return card_->Allocate(name, bytes);
  }
  absl::StatusOr<MappedMemory> DoAllocateMapped(std::string_view name, size_t bytes) override {
    return card_->AllocateMapped(name, bytes);
  }
  absl::Status DoLaunch(const Kernel& kernel, const LaunchShape& shape, const void* args) override {
    return card_->Launch(kernel, shape, args);
  }
  absl::Status DoMultiply(const PlainProduct& product) override {
    return card_->Multiply(product, {});
  }

 private:
  const std::unique_ptr<Runtime> card_;
  DeviceFacts facts_;
};

class CardDevice final : public KernelDevice {
 public:
  CardDevice(std::unique_ptr<Runtime> card, const Way& way)
      : runtime_(std::move(card), way.multiprocessors) {}

  Runtime& runtime() override { return runtime_; }
  std::vector<std::string> reports() const override { return {}; }
  std::optional<uint64_t> BytesWritten(const std::string& /*kernel*/) const override {
    return std::nullopt;
  }

 private:
  CutRuntime runtime_;
};

}  // namespace

std::unique_ptr<KernelDevice> MakeKernelDevice(const Way& way) {
  auto card = MakeCudaRuntime(/*device=*/0);
  if (!card.ok()) {
    std::fprintf(stderr, "%s\n", std::string(card.status().message()).c_str());
    std::exit(2);  // no test can say anything
  }
  return std::make_unique<CardDevice>(*std::move(card), way);
}

}  // namespace recurve::cuda
