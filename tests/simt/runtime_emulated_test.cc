// SPDX-License-Identifier: Apache-2.0
#include "tests/simt/runtime_emulated.h"

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/simt/device_vectors.h"
#include "tests/simt/scan.h"

namespace recurve {
namespace {

using simt::In;
using simt::Out;
using testing::ElementsAre;
using testing::HasSubstr;

struct AddArgs {
  In<uint32_t> in;
  Out<uint32_t> sum;
  uint32_t term;
};

// sum = 10 * sum + in + term: the order of launches shows.
RECURVE_KERNEL(32) AddOne(AddArgs args) {
  simt::GridWait();
  args.sum.Set(0, 10 * args.sum[0] + args.in[0] + args.term);
}

class EmulatedRuntimeTest : public testing::Test {
 protected:
  // A runtime with `in_` = {0}, `sum_` = {0} and mapped memory for 4 words.
  void Start(EmulatedOptions options = {}) {
    runtime_ = std::make_unique<EmulatedRuntime>(std::move(options));
    in_ = Uploaded(*runtime_, "in", std::vector<uint32_t>{0});
    sum_ = Uploaded(*runtime_, "sum", std::vector<uint32_t>{0});
    const auto mapped = runtime_->AllocateMapped("mailbox", 16);
    ASSERT_EQ(mapped.status(), absl::OkStatus());
    mapped_ = *mapped;
  }

  absl::Status Add(uint32_t term) {
    return Launch(*runtime_, "add", AddOne, {1, 1, 0, true}, {{in_, 0, 1}, {sum_, 0, 1}, term});
  }

  uint32_t SumNow() { return Downloaded<uint32_t>(*runtime_, sum_)[0]; }

  // What is in `sum_` without waiting for anything.
  uint32_t SumInMemory() const { return *reinterpret_cast<const uint32_t*>(sum_.data); }

  void WriteMailbox(uint32_t word) { *reinterpret_cast<uint32_t*>(mapped_.host) = word; }

  std::unique_ptr<EmulatedRuntime> runtime_;
  DeviceMemory in_;
  DeviceMemory sum_;
  MappedMemory mapped_;
};

// ---- Memory ----

TEST_F(EmulatedRuntimeTest, SaysWhatWasAskedForWhenMemoryIsExhausted) {
  DeviceFacts facts;
  facts.bytes = 1000;
  EmulatedRuntime runtime({.facts = facts});
  ASSERT_EQ(runtime.Allocate("weights", 900).status(), absl::OkStatus());
  EXPECT_EQ(*runtime.FreeBytes(), 100);
  EXPECT_EQ(runtime.Allocate("pages", 101).status(),
            absl::ResourceExhaustedError(
                "the device has no memory for 'pages': 101 bytes asked for, 100 free; lower "
                "--kv_pages, --slots or --max_context, or give --device another"));
  EXPECT_EQ(runtime.Allocate("scratch", 100).status(), absl::OkStatus());
  EXPECT_EQ(*runtime.FreeBytes(), 0);
  EXPECT_EQ(runtime.AllocateMapped("mailbox", 100).status(), absl::OkStatus()) << "the host's";
  EXPECT_EQ(runtime.allocated(),
            (std::vector<MemoryPiece>{
                {"weights", 900}, {"scratch", 100}, {"mailbox, of the host", 100}}));
}

TEST_F(EmulatedRuntimeTest, UploadsDownloadsAndClears) {
  Start();
  const DeviceMemory memory = *runtime_->Allocate("words", 12);
  const uint32_t word = 7;
  ASSERT_EQ(runtime_->Clear(memory), absl::OkStatus());
  ASSERT_EQ(runtime_->Upload(memory, 4, &word, 4), absl::OkStatus());
  EXPECT_THAT(Downloaded<uint32_t>(*runtime_, memory), ElementsAre(0, 7, 0));
}

TEST_F(EmulatedRuntimeTest, ReportsADownloadOfWhatNothingHasWritten) {
  Start();
  const DeviceMemory memory = *runtime_->Allocate("words", 12);
  const uint32_t words[2] = {};
  ASSERT_EQ(runtime_->Upload(memory, 0, words, 8), absl::OkStatus());
  uint32_t target[2];
  EXPECT_EQ(runtime_->Download(target, memory, 4, 8),
            absl::InternalError("host: Download of 'words' reads byte 8 of the memory, which "
                                "nothing has written"));
}

TEST_F(EmulatedRuntimeTest, RefusesTransfersBeyondMemory) {
  uint32_t words[2] = {};
  Start();
  EXPECT_EQ(
      runtime_->Upload(sum_, 0, words, 8),
      absl::InternalError("Upload of 8 bytes from byte 0 on is not in 'sum', which has 4 bytes"));
  Start();
  EXPECT_EQ(
      runtime_->Download(words, sum_, 4, 1),
      absl::InternalError("Download of 1 bytes from byte 4 on is not in 'sum', which has 4 bytes"));
  Start();
  EXPECT_EQ(runtime_->Copy(sum_, mapped_, 13, 4),
            absl::InternalError(
                "Copy of 4 bytes from byte 13 on is not in 'mailbox', which has 16 bytes"));
  Start();
  EXPECT_EQ(runtime_->Clear(DeviceMemory{}), absl::InternalError("Clear of memory of no runtime"));
}

TEST_F(EmulatedRuntimeTest, CopiesMappedMemoryInTheStreamsOrder) {
  Start();
  for (const uint32_t word : {5, 6}) {
    WriteMailbox(word);
    ASSERT_EQ(runtime_->Copy(in_, mapped_, 0, 4), absl::OkStatus());
    ASSERT_EQ(Add(0), absl::OkStatus());
  }
  EXPECT_EQ(SumNow(), 56);
}

TEST_F(EmulatedRuntimeTest, ALateCopyTakesWhatMappedMemoryHasThen) {
  Start({.execution = Execution::kWhenWaitedFor});
  for (const uint32_t word : {5, 6}) {
    WriteMailbox(word);
    ASSERT_EQ(runtime_->Copy(in_, mapped_, 0, 4), absl::OkStatus());
    ASSERT_EQ(Add(0), absl::OkStatus());
  }
  EXPECT_EQ(SumNow(), 66);
}

// ---- Launches ----

TEST_F(EmulatedRuntimeTest, RefusesShapesThatNoBlockCanHave) {
  for (const LaunchShape& shape : {LaunchShape{0, 1}, LaunchShape{1, 0}, LaunchShape{1, 1025},
                                   LaunchShape{1, 1, (227 << 10) + 1}}) {
    Start();
    EXPECT_EQ(Launch(*runtime_, "add", AddOne, shape, {{in_, 0, 1}, {sum_, 0, 1}, 1}),
              absl::InvalidArgumentError(
                  absl::StrCat("kernel add has ", shape.blocks, " blocks of ", shape.threads,
                               " threads and ", shape.shared_bytes,
                               " bytes of shared memory; device emulated runs 1 or more, of "
                               "1 to 1024 and at most 232448")));
    EXPECT_EQ(runtime_->Calls(EmulatedRuntime::Call::kLaunch), 0U);
  }
}

TEST_F(EmulatedRuntimeTest, CountsWhatKernelsTouch) {
  Start();
  const DeviceMemory in = Uploaded(*runtime_, "values", std::vector<uint32_t>(64, 1));
  const DeviceMemory out = *runtime_->Allocate("sums", 64 * 4);
  for (int time = 0; time < 3; ++time) {
    ASSERT_EQ(LaunchScan(*runtime_, in, out, 2, 32), absl::OkStatus());
  }
  ASSERT_EQ(Add(1), absl::OkStatus());
  const std::map<std::string, KernelCounts> kernels = runtime_->kernels();
  EXPECT_EQ(kernels.size(), 2);
  EXPECT_EQ(kernels.at("scan").launches, 3);
  EXPECT_EQ(kernels.at("scan").blocks, 6);
  EXPECT_EQ(kernels.at("scan").bytes_read, 3 * 64 * 4);
  EXPECT_EQ(kernels.at("scan").bytes_written, 3 * 64 * 4);
  EXPECT_EQ(kernels.at("add").bytes_read, 2 * 4);
}

RECURVE_KERNEL(32) AddWithoutWait(AddArgs args) { args.sum.Set(0, args.in[0] + args.term); }

TEST_F(EmulatedRuntimeTest, CanLeaveProgrammaticLaunchesUnchecked) {
  Start({.programmatic = false});
  EXPECT_EQ(
      Launch(*runtime_, "add", AddWithoutWait, {1, 1, 0, true}, {{in_, 0, 1}, {sum_, 0, 1}, 3}),
      absl::OkStatus());
  EXPECT_EQ(SumNow(), 3);
  Start();
  EXPECT_EQ(
      Launch(*runtime_, "add", AddWithoutWait, {1, 1, 0, true}, {{in_, 0, 1}, {sum_, 0, 1}, 3})
          .code(),
      absl::StatusCode::kInternal);
}

// ---- Graphs ----

TEST_F(EmulatedRuntimeTest, AGraphDoesWhatItsLaunchesWould) {
  const auto step = [this] {
    ASSERT_EQ(runtime_->Copy(in_, mapped_, 0, 4), absl::OkStatus());
    ASSERT_EQ(Add(1), absl::OkStatus());
    ASSERT_EQ(Add(2), absl::OkStatus());
  };
  Start();
  for (const uint32_t word : {1, 2}) {
    WriteMailbox(word);
    step();
  }
  const uint32_t direct = SumNow();
  const KernelCounts counts = runtime_->kernels()["add"];
  for (const Execution execution : {Execution::kAtOnce, Execution::kWhenWaitedFor}) {
    Start({.execution = execution});
    WriteMailbox(1);
    ASSERT_EQ(runtime_->BeginGraph("step 1"), absl::OkStatus());
    step();
    const auto graph = runtime_->EndGraph();
    ASSERT_EQ(graph.status(), absl::OkStatus());
    EXPECT_EQ(SumNow(), 0) << "what is recorded does not run";
    for (const uint32_t word : {1, 2}) {
      WriteMailbox(word);
      ASSERT_EQ(runtime_->Replay(*graph), absl::OkStatus());
      ASSERT_EQ(runtime_->Mark(0), absl::OkStatus());
      EXPECT_TRUE(*runtime_->Reached(0));
    }
    EXPECT_EQ(SumNow(), direct);
    EXPECT_EQ(runtime_->kernels()["add"].launches, counts.launches);
    EXPECT_EQ(runtime_->kernels()["add"].bytes_written, counts.bytes_written);
  }
}

TEST_F(EmulatedRuntimeTest, AGraphRecordsLaunchesCopiesAndClearsAlone) {
  const uint32_t word = 0;
  const std::vector<std::pair<std::string, std::function<absl::Status()>>> others = {
      {"Upload", [&] { return runtime_->Upload(sum_, 0, &word, 4); }},
      {"Allocate", [&] { return runtime_->Allocate("more", 4).status(); }},
      {"Mark", [&] { return runtime_->Mark(0); }},
      {"Reached", [&] { return runtime_->Reached(0).status(); }},
      {"BeginGraph", [&] { return runtime_->BeginGraph("step 2"); }},
      {"Replay", [&] { return runtime_->Replay(0); }},
  };
  for (const auto& [name, call] : others) {
    Start();
    ASSERT_EQ(runtime_->BeginGraph("step 1"), absl::OkStatus());
    ASSERT_EQ(runtime_->Clear(sum_), absl::OkStatus());
    EXPECT_EQ(call(), absl::InternalError(name + " while graph 'step 1' is recorded"));
  }
  Start();
  EXPECT_EQ(runtime_->EndGraph().status(), absl::InternalError("EndGraph without BeginGraph"));
  Start();
  EXPECT_EQ(runtime_->Replay(0), absl::InternalError("Replay of graph 0: there are 0"));
}

// ---- When work runs ----

TEST_F(EmulatedRuntimeTest, RunsAtOnceUnlessToldOtherwise) {
  Start();
  ASSERT_EQ(Add(4), absl::OkStatus());
  EXPECT_EQ(SumInMemory(), 4);
  ASSERT_EQ(runtime_->Mark(1), absl::OkStatus());
  EXPECT_TRUE(*runtime_->Reached(1));
  EXPECT_TRUE(*runtime_->Reached(2)) << "nothing is before a mark that was never set";
}

TEST_F(EmulatedRuntimeTest, LateWorkRunsNoFurtherThanTheMarkThatIsWaitedFor) {
  Start({.execution = Execution::kWhenWaitedFor, .late_polls = 2});
  for (const uint32_t mark : {0, 1}) {
    ASSERT_EQ(Add(mark + 1), absl::OkStatus());
    ASSERT_EQ(runtime_->Mark(mark), absl::OkStatus());
  }
  EXPECT_FALSE(*runtime_->Reached(0));
  EXPECT_FALSE(*runtime_->Reached(0));
  EXPECT_EQ(SumInMemory(), 0);
  EXPECT_TRUE(*runtime_->Reached(0));
  EXPECT_EQ(SumInMemory(), 1);
  EXPECT_FALSE(*runtime_->Reached(1));
  EXPECT_EQ(SumNow(), 12) << "a download waits for all";
  EXPECT_TRUE(*runtime_->Reached(1));
}

TEST_F(EmulatedRuntimeTest, TheLastPlaceWithAMarkCounts) {
  Start({.execution = Execution::kWhenWaitedFor});
  for (const uint32_t term : {1, 2}) {
    ASSERT_EQ(Add(term), absl::OkStatus());
    ASSERT_EQ(runtime_->Mark(0), absl::OkStatus());
  }
  ASSERT_EQ(Add(3), absl::OkStatus());
  EXPECT_TRUE(*runtime_->Reached(0));
  EXPECT_EQ(SumInMemory(), 12);
}

TEST_F(EmulatedRuntimeTest, ADeviceThatHangsReachesNothing) {
  Start();
  ASSERT_EQ(Add(1), absl::OkStatus());
  runtime_->SetExecution(Execution::kNever);
  EXPECT_EQ(SumNow(), 1) << "nothing is launched that could hang";
  ASSERT_EQ(Add(2), absl::OkStatus());
  ASSERT_EQ(runtime_->Mark(0), absl::OkStatus());
  for (int poll = 0; poll < 100; ++poll) EXPECT_FALSE(*runtime_->Reached(0));
  EXPECT_EQ(SumInMemory(), 1);
  uint32_t word = 0;
  EXPECT_EQ(runtime_->Download(&word, sum_, 0, 4),
            absl::InternalError("Download: the device hangs"));
}

// ---- Errors ----

TEST_F(EmulatedRuntimeTest, ALateFaultComesToWhoeverWaits) {
  Start({.execution = Execution::kWhenWaitedFor});
  ASSERT_EQ(
      Launch(*runtime_, "add", AddWithoutWait, {1, 1, 0, true}, {{in_, 0, 1}, {sum_, 0, 1}, 3}),
      absl::OkStatus());
  ASSERT_EQ(runtime_->Mark(0), absl::OkStatus());
  const absl::Status status = runtime_->Reached(0).status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("add: block 0, thread 0: In[0] of 'in' before GridWait()"));
  EXPECT_EQ(Add(1), status);
  EXPECT_EQ(runtime_->Allocate("more", 4).status(), status);
}

// Every call of the runtime, to be made several times.
class EmulatedRuntimeFaultTest : public EmulatedRuntimeTest {
 protected:
  using Call = EmulatedRuntime::Call;

  // Makes each call twice, a graph's in their order, until one fails.
  absl::Status MakeAllCalls() {
    uint32_t word = 0;
    const std::vector<std::function<absl::Status()>> calls = {
        [&] { return runtime_->LoadProducts(); },
        [&] { return runtime_->FreeBytes().status(); },
        [&] { return runtime_->Allocate("more", 4).status(); },
        [&] { return runtime_->AllocateMapped("more", 4).status(); },
        [&] { return runtime_->Clear(sum_); },
        [&] { return runtime_->Upload(sum_, 0, &word, 4); },
        [&] { return runtime_->Download(&word, sum_, 0, 4); },
        [&] { return runtime_->BeginGraph("step"); },
        [&] { return Add(1); },
        [&] { return runtime_->Copy(in_, mapped_, 0, 4); },
        [&] {
          return runtime_->Multiply({sum_, sum_, in_, 1, 1, 1}, {});
        },
        [&] { return runtime_->EndGraph().status(); },
        [&] { return runtime_->Replay(0); },
        [&] { return runtime_->Mark(0); },
        [&] { return runtime_->Reached(0).status(); },
    };
    for (int time = 0; time < 2; ++time) {
      for (const auto& call : calls) {
        if (absl::Status status = call(); !status.ok()) return status;
      }
    }
    return absl::OkStatus();
  }
};

TEST(EmulatedRuntimeProductTest, RowsWithoutAValueHaveNoProduct) {
  EmulatedRuntime runtime;
  const DeviceMemory weights = *runtime.Allocate("weights", 2 * 3 * sizeof(uint16_t));
  const DeviceMemory x = *runtime.Allocate("x", 2 * 3 * sizeof(uint16_t));
  const DeviceMemory y = *runtime.Allocate("y", 2 * 2 * sizeof(float));
  constexpr uint16_t kOne = 0x3F80;
  constexpr uint16_t kTwo = 0x4000;
  const uint16_t two_outputs[] = {kOne, kTwo, kOne, kTwo, kTwo, kTwo};
  const uint16_t first_row[] = {kTwo, kOne, kOne};
  ASSERT_EQ(runtime.Upload(weights, 0, two_outputs, sizeof(two_outputs)), absl::OkStatus());
  ASSERT_EQ(runtime.Upload(x, 0, first_row, sizeof(first_row)), absl::OkStatus());
  ASSERT_EQ(runtime.LoadProducts(), absl::OkStatus());
  ASSERT_EQ(runtime.Multiply({weights, x, y, 2, 3, 2}, {}), absl::OkStatus());
  float found[2] = {};
  ASSERT_EQ(runtime.Download(found, y, 0, sizeof(found)), absl::OkStatus());
  EXPECT_EQ(found[0], 2 * 1 + 1 * 2 + 1 * 1);
  EXPECT_EQ(found[1], 2 * 2 + 1 * 2 + 1 * 2);
  EXPECT_EQ(runtime.Download(found, y, sizeof(found), sizeof(found)),
            absl::InternalError("host: Download of 'y' reads byte 8 of the memory, which nothing "
                                "has written"));
}

TEST(EmulatedRuntimeProductTest, NeedsTheLibrary) {
  EmulatedRuntime runtime;
  const DeviceMemory memory = *runtime.Allocate("memory", 4);
  EXPECT_EQ(runtime.Multiply({memory, memory, memory, 1, 1, 1}, {}),
            absl::InternalError("Multiply before LoadProducts"));
}

TEST_F(EmulatedRuntimeFaultTest, EachCallFailsWhenToldToAndAllAfterIt) {
  Start();
  ASSERT_EQ(MakeAllCalls(), absl::OkStatus());
  std::vector<uint64_t> counts;
  for (size_t i = 0; i < EmulatedRuntime::kCalls; ++i) {
    counts.push_back(runtime_->Calls(static_cast<Call>(i)));
  }
  for (size_t i = 0; i < EmulatedRuntime::kCalls; ++i) {
    for (const uint64_t nth : {1, 2}) {
      Start();
      const auto call = static_cast<Call>(i);
      const uint64_t before = runtime_->Calls(call);
      const absl::Status error = absl::InternalError("CUDA_ERROR_ECC_UNCORRECTABLE");
      runtime_->FailAt(call, nth, error);
      EXPECT_EQ(MakeAllCalls(), error) << "call " << i;
      EXPECT_EQ(runtime_->Calls(call), before + nth) << "call " << i;
      EXPECT_LT(runtime_->Calls(call), counts[i] + 1);
      EXPECT_EQ(Add(1), error);
      EXPECT_EQ(runtime_->Reached(0).status(), error);
    }
  }
}

}  // namespace
}  // namespace recurve
