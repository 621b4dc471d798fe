// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_SIMT_RUNTIME_EMULATED_H_
#define RECURVE_TESTS_SIMT_RUNTIME_EMULATED_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/base/mutex.h"
#include "tests/simt/emulator.h"
#include "tests/simt/memory_account.h"
#include "tests/simt/reports.h"

namespace recurve {

// When what was launched runs.
enum class Execution : uint8_t {
  kAtOnce,         // in the call that launches it
  kWhenWaitedFor,  // no sooner than Reached, Upload or Download must: as late as a card may be
  kNever,          // a device that hangs: Reached is false; Upload and Download fail, not to block
};

struct EmulatedOptions {
  DeviceFacts facts = {.name = "emulated",
                       .multiprocessors = 2,
                       .architecture = 90,
                       .driver = 13000,
                       .bytes = uint64_t{1} << 30,
                       .shared_bytes = 227 << 10};
  uint64_t seed = 0;  // of the emulator's orders
  Execution execution = Execution::kAtOnce;
  // For kWhenWaitedFor: how often Reached says false of a mark before its work runs.
  uint32_t late_polls = 0;
  bool programmatic = true;  // whether launches that ask for it are checked as such
  bool has_products = true;  // whether LoadProducts finds a library
};

// A device of the tests: memory is the host's with an account of each byte, kernels run on the
// emulator. What the emulator reports fails the call that ran it, and all later ones, with INTERNAL
// and the first report.
//
// Thread-safe, so that a test can look at it and let it fail while an engine's thread uses it; a
// call may wait for kernels that another runs.
class EmulatedRuntime : public Runtime {
 public:
  enum class Call : uint8_t {
    kFreeBytes,
    kAllocate,
    kAllocateMapped,
    kClear,
    kUpload,
    kDownload,
    kCopy,
    kLaunch,
    kMultiply,
    kBeginGraph,
    kEndGraph,
    kReplay,
    kMark,
    kReached,
  };
  static constexpr size_t kCalls = static_cast<size_t>(Call::kReached) + 1;

  explicit EmulatedRuntime(EmulatedOptions options = {});

  // ---- Runtime ----

  const DeviceFacts& facts() const override { return options_.facts; }
  absl::StatusOr<uint64_t> FreeBytes() override;
  absl::Status Clear(const DeviceMemory& memory) override;
  absl::Status Upload(const DeviceMemory& memory, size_t offset, const void* source,
                      size_t bytes) override;
  absl::Status Download(void* target, const DeviceMemory& memory, size_t offset,
                        size_t bytes) override;
  absl::Status Copy(const DeviceMemory& target, const MappedMemory& source, size_t source_offset,
                    size_t bytes) override;
  absl::Status LoadProducts() override;
  absl::Status BeginGraph(std::string_view name) override;
  absl::StatusOr<Graph> EndGraph() override;
  absl::Status Replay(Graph graph) override;
  absl::Status Mark(uint32_t mark) override;
  absl::StatusOr<bool> Reached(uint32_t mark) override;

  // ---- For tests ----

  void SetExecution(Execution execution);

  // The `nth` call of this kind from now on (1: the next) returns `error`, and so does every call
  // after it, of any kind.
  void FailAt(Call call, uint64_t nth, absl::Status error);

  // How often it was called.
  uint64_t Calls(Call call) const;

  // What kernels came to, by their names.
  std::map<std::string, KernelCounts> kernels() const;

  // What the checks found, the first ones.
  std::vector<std::string> reports() const;

 protected:
  absl::StatusOr<DeviceMemory> DoAllocate(std::string_view name, size_t bytes) override;
  absl::StatusOr<MappedMemory> DoAllocateMapped(std::string_view name, size_t bytes) override;
  absl::Status DoLaunch(const Kernel& kernel, const LaunchShape& shape, const void* args) override;
  absl::Status DoMultiply(const PlainProduct& product) override;

 private:
  // What the stream does, and what graphs repeat.
  struct Work {
    enum class Kind : uint8_t { kLaunch, kMultiply, kCopy, kClear, kReplay, kMark };
    Kind kind;
    Kernel kernel{};  // kLaunch
    LaunchShape shape{};
    std::vector<std::byte> args{};
    PlainProduct product{};             // kMultiply
    DeviceMemory target{};              // kCopy, kClear
    const std::byte* source = nullptr;  // kCopy
    size_t bytes = 0;
    uint32_t number = 0;  // the graph or the mark
  };
  struct Recording {
    std::string name;
    std::vector<Work> works;
  };
  struct Fault {
    uint64_t at = 0;  // the count of calls at which it comes; 0: never
    absl::Status error;
  };

  // Counts the call and gives the error that it must return, if any.
  absl::Status Begin(Call call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes `error` what every later call returns.
  absl::Status Fail(absl::Status error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Fails if `bytes` bytes from `offset` on are not in `memory`, or it is not of a runtime.
  absl::Status CheckRange(Call call, const DeviceMemory& memory, size_t offset, size_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Puts work into the graph that is recorded, or into the stream, where it may run at once.
  absl::Status Enqueue(Work work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Runs the stream to its end, or until no work is left before the last place with `mark`.
  absl::Status RunStream(std::optional<uint32_t> mark = std::nullopt)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Run(const Work& work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Runs the stream to its end for a host that waits for it.
  absl::Status Wait(Call call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const EmulatedOptions options_;
  Reports reports_;
  mutable Mutex mutex_;
  Emulator emulator_ ABSL_GUARDED_BY(mutex_);
  Execution execution_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<MemoryAccount>> accounts_ ABSL_GUARDED_BY(mutex_);
  uint64_t allocated_ ABSL_GUARDED_BY(mutex_) = 0;
  bool products_loaded_ ABSL_GUARDED_BY(mutex_) = false;

  std::deque<Work> stream_ ABSL_GUARDED_BY(mutex_);
  std::map<uint32_t, uint32_t> marks_ ABSL_GUARDED_BY(mutex_);  // how often each is in the stream
  std::map<uint32_t, uint32_t> polls_ ABSL_GUARDED_BY(mutex_);  // that were false, of each mark
  std::optional<Recording> recording_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::vector<Work>> graphs_ ABSL_GUARDED_BY(mutex_);

  std::array<uint64_t, kCalls> calls_ ABSL_GUARDED_BY(mutex_){};
  std::array<Fault, kCalls> faults_ ABSL_GUARDED_BY(mutex_);
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, KernelCounts> kernels_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace recurve

#endif  // RECURVE_TESTS_SIMT_RUNTIME_EMULATED_H_
