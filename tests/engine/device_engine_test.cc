// SPDX-License-Identifier: Apache-2.0
// An engine over a device with memory of its own, which an emulated one stands in for: what it
// takes of the memory, and how it ends when the device fails.
#include <chrono>
#include <memory>
#include <numeric>
#include <string>

#include "engine/assembly.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/cuda/emulated_backend.h"
#include "tests/engine/model/checkpoint_writer.h"
#include "tests/engine/small_engine.h"
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Field;
using testing::HasSubstr;

class DeviceEngineTest : public testing::Test {
 protected:
  DeviceEngineTest() {
    WriteSmallModel(directory_);
    options_.model.directory = directory_.path();
    options_.model.backend = "cuda";
    options_.model.precision = "f32";
    options_.schedule.slots = 64;
    options_.schedule.areas = 2;
    options_.schedule.chunk = 16;
    options_.schedule.prompt_rows = 16;
    emulated_.facts.bytes = uint64_t{3} << 20;
  }

  absl::StatusOr<Assembly> Assembled() {
    return Assemble(options_, EmulatedCudaOpener(emulated_, &device_));
  }

  const ScopedDirectory directory_;
  EngineOptions options_;
  EmulatedOptions emulated_;
  EmulatedRuntime* device_ = nullptr;  // of the last assembly
};

uint64_t Sum(const std::vector<MemoryPiece>& pieces) {
  return std::accumulate(pieces.begin(), pieces.end(), uint64_t{0},
                         [](uint64_t sum, const MemoryPiece& piece) { return sum + piece.bytes; });
}

TEST_F(DeviceEngineTest, AutomaticPagesTakeTheirShareOfWhatIsLeft) {
  for (const double share : {0.9, 0.4}) {
    if (share != 0.9) options_.memory.kv_memory_share = share;  // else the backend's own
    const auto assembly = Assembled();
    ASSERT_TRUE(assembly.ok()) << assembly.status();
    const EngineInfo& info = assembly->info;
    EXPECT_EQ(info.options.memory.kv_memory_share, share);
    EXPECT_EQ(info.options.schedule.queue_depth, 1U);
    const uint64_t pages = uint64_t{info.kv_pages} * info.kv_page_bytes;
    const uint64_t left = *device_->FreeBytes();
    const auto rest = static_cast<uint64_t>((1 - share) * static_cast<double>(left + pages));
    EXPECT_GE(left, rest);
    EXPECT_LE(left, rest + info.kv_page_bytes + 1);
    EXPECT_GT(info.kv_pages, 10U);
    EXPECT_LT(info.kv_pages, 64U * 64 / 16) << "all that slots need fits, which shows nothing";
  }
}

TEST_F(DeviceEngineTest, TellsWhatItTookByName) {
  const auto assembly = Assembled();
  ASSERT_TRUE(assembly.ok()) << assembly.status();
  const std::vector<MemoryPiece>& pieces = assembly->info.device_memory;
  EXPECT_EQ(Sum(pieces), Sum(device_->allocated()));
  EXPECT_THAT(pieces, Contains(Field(&MemoryPiece::name, "cache pages")));
  uint64_t of_the_host = 0;
  for (const MemoryPiece& piece : device_->allocated()) {
    if (piece.name.ends_with(", of the host")) of_the_host += piece.bytes;
  }
  EXPECT_EQ(Sum(pieces) - of_the_host + *device_->FreeBytes(), emulated_.facts.bytes);
}

TEST_F(DeviceEngineTest, WhatDoesNotFitIsNamed) {
  const auto refusal = [this] {
    const absl::Status status = Assembled().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    return std::string(status.message());
  };
  options_.memory.kv_pages = 100'000;
  EXPECT_THAT(refusal(), AllOf(HasSubstr("the device has no memory for 'cache pages': "),
                               HasSubstr(" bytes asked for, "), HasSubstr(" free; lower ")));
  options_.memory.kv_pages = 0;
  emulated_.facts.bytes = 10'000;
  EXPECT_THAT(refusal(), HasSubstr("the device has no memory for 'embedding': 33024 bytes asked "
                                   "for, 10000 free; lower "));
}

TEST_F(DeviceEngineTest, WhatTheBackendCannotDoIsRefused) {
  options_.schedule.slots = 1025;
  EXPECT_EQ(Assembled().status(),
            absl::InvalidArgumentError("--slots is 1025; the backend cuda has at most 1024"));
  options_.schedule.slots = 64;
  options_.model.precision = "bf16";
  options_.memory.kv_pages = 4'000'000'000;  // of which a word cannot count all keys
  EXPECT_THAT(std::string(Assembled().status().message()),
              testing::MatchesRegex("--kv_pages is 4000000000; of this model the backend cuda has "
                                    "at most [0-9]+"));
}

TEST_F(DeviceEngineTest, WhatIsFreeMayBeUnknown) {
  const BackendOpener open = EmulatedCudaOpener(emulated_, &device_);
  const auto open_broken = [&](const BackendOptions& options) {
    auto builder = open(options);
    device_->FailAt(EmulatedRuntime::Call::kFreeBytes, 1, absl::UnavailableError("cudaMemGetInfo"));
    return builder;
  };
  EXPECT_EQ(Assemble(options_, open_broken).status(), absl::UnavailableError("cudaMemGetInfo"));
}

// Starts a request on an engine over the assembly, and waits until it and the engine have failed.
void ExpectFailure(Assembly assembly) {
  const std::unique_ptr<Engine> engine = MakeEngine(std::move(assembly));
  const auto sink = std::make_shared<Sink>();
  ASSERT_TRUE(engine->Start(IdsRequest({1, 2, 3}, 40), {sink}).ok());
  EXPECT_FALSE(engine->WaitForFailure().ok());  // says the backend, or who watches the steps
  // Where the watch is first, sinks hear no more.
  if (!engine->Snapshot().stuck) {
    EXPECT_EQ(sink->Wait().status.code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_TRUE(engine->Snapshot().failed);
  EXPECT_EQ(engine->Start(IdsRequest({1}, 1), {sink}).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(DeviceEngineTest, ADeviceThatFailsFailsTheEngine) {
  auto assembly = Assembled();
  ASSERT_TRUE(assembly.ok()) << assembly.status();
  device_->FailAt(EmulatedRuntime::Call::kReplay, 5,
                  absl::UnavailableError("cudaGraphLaunch: cudaErrorLaunchFailure"));
  ExpectFailure(*std::move(assembly));
}

TEST_F(DeviceEngineTest, ADeviceThatHangsFailsTheEngineAndIsNotWaitedFor) {
  options_.schedule.step_timeout = std::chrono::milliseconds(100);
  auto assembly = Assembled();
  ASSERT_TRUE(assembly.ok()) << assembly.status();
  device_->SetExecution(Execution::kNever);
  ExpectFailure(*std::move(assembly));
}

}  // namespace
}  // namespace recurve
