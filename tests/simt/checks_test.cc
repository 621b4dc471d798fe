// SPDX-License-Identifier: Apache-2.0
// Each thing that the emulator reports, done by a kernel that does nothing else.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/backend/cuda/runtime.h"
#include "engine/backend/cuda/simt.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/simt/device_vectors.h"
#include "tests/simt/runtime_emulated.h"

namespace recurve {
namespace {

using simt::Constant;
using simt::In;
using simt::Out;
using testing::ElementsAre;
using testing::SizeIs;

struct Spans {
  Constant<float> constant;
  In<float> in;
  Out<float> out;
  In<float> none;
};

// 16 bytes that are read and written at once.
struct alignas(16) Vector {
  float values[4];
};

using Kernel = void (*)(Spans);

// A kernel is launched over the first 8 of 12 elements of "weights", "rows" and "sums"; the first 8
// of them have a value.
class Checks : public testing::Test {
 protected:
  static constexpr LaunchShape kOneThread = {1, 1, 64};
  static constexpr LaunchShape kProgrammatic = {1, 1, 64, true};

  void SetUp() override {
    const float values[8] = {};
    for (DeviceMemory* memory : {&weights_, &rows_, &sums_}) {
      const char* const name = memory == &weights_ ? "weights" : memory == &rows_ ? "rows" : "sums";
      *memory = *runtime_.Allocate(name, 12 * sizeof(float));
      ASSERT_EQ(runtime_.Upload(*memory, 0, values, sizeof(values)), absl::OkStatus());
    }
  }

  absl::Status Run(Kernel kernel, const LaunchShape& shape = kOneThread) {
    return Launch(runtime_, "kernel", kernel, shape,
                  {{weights_, 0, 8}, {rows_, 0, 8}, {sums_, 0, 8}, {}});
  }

  // The launch fails with the one report `text`.
  void ExpectReport(const std::string& text, Kernel kernel, const LaunchShape& shape = kOneThread) {
    EXPECT_EQ(Run(kernel, shape), absl::InternalError(text));
    EXPECT_THAT(runtime_.reports(), ElementsAre(text));
  }

  EmulatedRuntime runtime_;
  DeviceMemory weights_;
  DeviceMemory rows_;
  DeviceMemory sums_;
};

// ---- Bounds ----

TEST_F(Checks, ReadsBeyondAConstant) {
  ExpectReport(
      "kernel: block 0, thread 0: Constant[8] of 'weights' is out of bounds: the span has 8 "
      "elements of 4 bytes from byte 0 of the memory on",
      [](Spans spans) { spans.out.Set(0, spans.constant[8]); });
}

TEST_F(Checks, ReadsBeyondAPartOfAnIn) {
  ExpectReport(
      "kernel: block 1, thread 2: In[4] of 'rows' is out of bounds: the span has 4 elements of 4 "
      "bytes from byte 8 of the memory on",
      [](Spans spans) {
        if (simt::BlockIndex() == 1 && simt::ThreadIndex() == 2) {
          spans.out.Set(0, spans.in.Part(2, 4)[4]);
        }
      },
      {2, 4});
}

TEST_F(Checks, WritesBeyondAnOut) {
  ExpectReport(
      "kernel: block 0, thread 0: Out.Set(1000000) of 'sums' is out of bounds: the span has 8 "
      "elements of 4 bytes from byte 0 of the memory on",
      [](Spans spans) { spans.out.Set(1000000, 1); });
}

TEST_F(Checks, MakesAPartBeyondASpan) {
  ExpectReport(
      "kernel: block 0, thread 0: Part(5, 4) of 'rows' with elements of 4 bytes is out of bounds: "
      "the span has 8 elements of 4 bytes from byte 0 of the memory on",
      [](Spans spans) { spans.in.Part(5, 4); });
}

TEST_F(Checks, ReadsMoreAsAnotherType) {
  ExpectReport(
      "kernel: block 0, thread 0: As(4, 2) of 'rows' with elements of 16 bytes is out of bounds: "
      "the span has 8 elements of 4 bytes from byte 0 of the memory on",
      [](Spans spans) {
        EXPECT_EQ(spans.in.As<Vector>(4, 1)[0].values[3], 0);
        spans.in.As<Vector>(4, 2);
      });
}

TEST_F(Checks, ReadsAnotherTypeMisaligned) {
  ExpectReport(
      "kernel: block 0, thread 0: As(1, 1) of 'rows' with elements of 16 bytes is misaligned: the "
      "span has 8 elements of 4 bytes from byte 0 of the memory on",
      [](Spans spans) { spans.in.As<Vector>(1, 1); });
}

TEST_F(Checks, TheHostMakesASpanBeyondItsMemory) {
  const Out<float> out(sums_, 4, 9);
  const std::string report =
      "host: a span of 9 elements of 4 bytes from element 4 on is not in 'sums', which has 48 "
      "bytes from byte 0 on";
  EXPECT_EQ(Run([](Spans) {}), absl::InternalError(report));
}

TEST_F(Checks, TheHostMakesASpanOfMisalignedMemory) {
  const Out<float> out(DeviceMemory{sums_.data + 2, 8, sums_.tracker}, 0, 2);
  EXPECT_THAT(runtime_.reports(), ElementsAre("host: a span of 2 elements of 4 bytes from element "
                                              "0 on is not in 'sums', which has 8 bytes from byte "
                                              "2 on"));
}

TEST_F(Checks, UsesASpanWithoutMemory) {
  ExpectReport("kernel: block 0, thread 0: In[0] of a span without memory",
               [](Spans spans) { spans.out.Set(0, spans.none.Part(0, 0)[0]); });
}

TEST_F(Checks, MakesAPartOfASpanWithoutMemory) {
  ExpectReport("kernel: block 0, thread 0: Part(0, 1) of a span without memory",
               [](Spans spans) { spans.none.Part(0, 1); });
}

TEST_F(Checks, UsesSharedMemoryBeyondAnArray) {
  ExpectReport(
      "kernel: block 0, thread 0: SharedArray at 3 is out of bounds: the array has 3 elements",
      [](Spans) {
        simt::SharedMemory shared;
        shared.Array<float>(3)[3] = 0;
      });
}

TEST_F(Checks, MovesASharedArrayBeyondItsEnd) {
  ExpectReport(
      "kernel: block 0, thread 0: SharedArray + 4 is out of bounds: the array has 3 elements",
      [](Spans) {
        simt::SharedMemory shared;
        (shared.Array<float>(3) + 3) + 0;
        shared.Array<float>(3) + 4;
      });
}

TEST_F(Checks, AsksForMoreSharedMemoryThanTheLaunchGives) {
  ExpectReport("kernel: block 0, thread 0: asks for 80 bytes of shared memory; the launch gives 64",
               [](Spans) {
                 simt::SharedMemory shared;
                 shared.Array<float>(16);
                 shared.Array<float>(1);
               });
}

// ---- Memory without a value ----

TEST_F(Checks, ReadsWhatNothingHasWritten) {
  const Out<float> out(sums_, 0, 12);
  EXPECT_EQ(
      Launch(
          runtime_, "kernel", +[](Out<float> sums) { sums.Set(0, sums[10]); }, kOneThread, out),
      absl::InternalError("kernel: block 0, thread 0: Out[10] of 'sums' reads byte 40 of the "
                          "memory, which nothing has written"));
}

TEST_F(Checks, ReadsWhatNothingHasWrittenByAnIn) {
  const Out<float> out(sums_, 0, 12);
  EXPECT_EQ(Launch(
                runtime_, "kernel", +[](Out<float> sums) { sums.Set(0, sums.ToRead()[10]); },
                kOneThread, out),
            absl::InternalError("kernel: block 0, thread 0: In[10] of 'sums' reads byte 40 of the "
                                "memory, which nothing has written"));
}

TEST_F(Checks, ReadsAnElementOfWhichAPartIsWritten) {
  const Out<float> out(sums_, 0, 12);
  EXPECT_EQ(Launch(
                runtime_, "kernel",
                +[](Out<float> sums) {
                  sums.As<uint16_t>(10, 2).Set(0, 7);
                  sums.Set(0, sums[10]);
                },
                kOneThread, out),
            absl::InternalError("kernel: block 0, thread 0: Out[10] of 'sums' reads byte 42 of the "
                                "memory, which nothing has written"));
}

TEST_F(Checks, EditsWhatNothingHasWritten) {
  const Out<float> out(sums_, 0, 12);
  EXPECT_EQ(Launch(
                runtime_, "kernel",
                +[](Out<float> sums) {
                  sums.Set(8, 1);
                  sums.Edit(8) += 1;
                  sums.Edit(9) += 1;
                },
                kOneThread, out),
            absl::InternalError("kernel: block 0, thread 0: Out.Edit(9) of 'sums' reads byte 36 of "
                                "the memory, which nothing has written"));
}

TEST_F(Checks, AddsToWhatNothingHasWritten) {
  const Out<uint32_t> out(sums_, 0, 12);
  EXPECT_EQ(Launch(
                runtime_, "kernel", +[](Out<uint32_t> sums) { sums.Add(11, 1); }, kOneThread, out),
            absl::InternalError("kernel: block 0, thread 0: Out.Add(11) of 'sums' reads byte 44 of "
                                "the memory, which nothing has written"));
}

// ---- What may be touched when ----

TEST_F(Checks, ReadsBeforeGridWait) {
  ExpectReport(
      "kernel: block 0, thread 0: In[0] of 'rows' before GridWait(), in a kernel that was launched "
      "programmatic",
      [](Spans spans) {
        const float value = spans.in[0];
        simt::GridWait();
        spans.out.Set(0, value);
      },
      kProgrammatic);
}

TEST_F(Checks, WritesBeforeGridWait) {
  ExpectReport(
      "kernel: block 0, thread 0: Out.Set(1) of 'sums' before GridWait(), in a kernel that was "
      "launched programmatic",
      [](Spans spans) {
        spans.out.Set(1, spans.constant[0]);
        simt::GridWait();
      },
      kProgrammatic);
}

TEST_F(Checks, ReturnsWithoutGridWait) {
  ExpectReport(
      "kernel: block 0, thread 3: returns without GridWait(), though the kernel was launched "
      "programmatic",
      [](Spans) {
        if (simt::ThreadIndex() != 3) simt::GridWait();
      },
      {1, 4, 0, true});
}

TEST_F(Checks, CallsGridWaitTwice) {
  static constexpr uint32_t kLine = __LINE__;
  const Kernel kernel = [](Spans) {
    simt::GridWait();
    simt::GridWait();
  };
  ExpectReport(absl::StrCat("kernel: block 0, thread 0: calls GridWait() a second time, at "
                            "checks_test.cc:",
                            kLine + 3),
               kernel);
}

// A kernel that writes the weights.
absl::Status WriteWeights(Runtime& runtime, const DeviceMemory& weights) {
  return Launch(runtime, "write", +[](Out<float> out) { out.Set(0, 1); }, {1, 1}, {weights, 0, 8});
}

TEST_F(Checks, WritesWhatAKernelHasReadAsConstant) {
  ASSERT_EQ(Run([](Spans spans) { spans.out.Set(0, spans.constant[0]); }), absl::OkStatus());
  EXPECT_EQ(WriteWeights(runtime_, weights_),
            absl::InternalError("write: block 0, thread 0: Out.Set(0) of 'weights' changes memory "
                                "that a kernel has read as Constant"));
}

TEST_F(Checks, ReadsAsConstantWhatAKernelHasJustWritten) {
  ASSERT_EQ(WriteWeights(runtime_, weights_), absl::OkStatus());
  ExpectReport(
      "kernel: block 0, thread 0: Constant[1] of 'weights' reads memory that a kernel has written "
      "since the host last waited",
      [](Spans spans) { spans.out.Set(0, spans.constant[1]); });
}

TEST_F(Checks, MayReadAsConstantWhatAKernelWroteOnceTheHostHasWaited) {
  ASSERT_EQ(WriteWeights(runtime_, weights_), absl::OkStatus());
  EXPECT_THAT(Downloaded<float>(runtime_, DeviceMemory{weights_.data, 4, weights_.tracker}),
              ElementsAre(1));
  EXPECT_EQ(Run([](Spans spans) { spans.out.Set(0, spans.constant[0]); }), absl::OkStatus());
}

// ---- Threads that do not meet ----

TEST_F(Checks, WaitsForThreadsThatHaveReturned) {
  static constexpr uint32_t kLine = __LINE__;
  const Kernel kernel = [](Spans) {
    if (simt::ThreadIndex() < 40) simt::SyncBlock();
  };
  ExpectReport(absl::StrCat("kernel: block 0: its threads do not meet: 0-39 wait in SyncBlock() at "
                            "checks_test.cc:",
                            kLine + 2, "; 40-95 have returned"),
               kernel, {1, 96});
}

TEST_F(Checks, WaitsAtAnotherBarrier) {
  static constexpr uint32_t kLine = __LINE__;
  const Kernel kernel = [](Spans) {
    if (simt::ThreadIndex() % 4 == 1) {
      simt::SyncBlock();
      return;
    }
    simt::SyncBlock();
  };
  ExpectReport(absl::StrCat("kernel: block 0: its threads do not meet: 0, 2-4, 6-7 wait in "
                            "SyncBlock() at checks_test.cc:",
                            kLine + 6, "; 1, 5 wait in SyncBlock() at checks_test.cc:", kLine + 3),
               kernel, {1, 8});
}

TEST_F(Checks, HalfAWarpWaits) {
  static constexpr uint32_t kLine = __LINE__;
  const Kernel kernel = [](Spans) {
    if (simt::ThreadIndex() < 48) simt::SyncWarp();
    simt::SyncBlock();
  };
  ExpectReport(absl::StrCat("kernel: block 0: the threads of warp 1 do not meet: 32-47 wait in "
                            "SyncWarp() at checks_test.cc:",
                            kLine + 2, "; 48-63 wait in SyncBlock() at checks_test.cc:", kLine + 3),
               kernel, {1, 96});
}

TEST_F(Checks, LanesMeetInDifferentCalls) {
  static constexpr uint32_t kLine = __LINE__;
  const Kernel kernel = [](Spans) {
    if (simt::ThreadIndex() == 0) {
      simt::Ballot(true);
    } else {
      simt::ShuffleXor(1, 1);
    }
  };
  ExpectReport(absl::StrCat("kernel: block 0: the threads of warp 0 do not meet: 0 wait in "
                            "Ballot() at checks_test.cc:",
                            kLine + 3, "; 1-3 wait in ShuffleXor() at checks_test.cc:", kLine + 5),
               kernel, {1, 4});
}

TEST_F(Checks, ShufflesWithALaneThatTheWarpDoesNotHave) {
  static constexpr uint32_t kLine = __LINE__;
  const Kernel kernel = [](Spans) { simt::ShuffleXor(1, 1); };
  ExpectReport(absl::StrCat("kernel: block 0, thread 34: asks for the value of lane 3, which its "
                            "warp does not have, in ShuffleXor() at checks_test.cc:",
                            kLine + 1),
               kernel, {1, 35});
}

// ---- Reports ----

TEST_F(Checks, TheFirstReportsOfManyAreKept) {
  const absl::Status status = Run([](Spans spans) { spans.out.Set(8, 0); }, {100, 8});
  EXPECT_THAT(std::string(status.message()),
              testing::StartsWith("kernel: block 0, thread 0: Out.Set(8)"));
  EXPECT_THAT(runtime_.reports(), SizeIs(Reports::kMost));
  EXPECT_THAT(runtime_.reports().back(), testing::StartsWith("kernel: block 2, thread 3: "));
  EXPECT_EQ(runtime_.kernels()["kernel"].blocks, 3);
}

TEST_F(Checks, TheOthersAreNotToldOfWaitingForAThreadThatWasStopped) {
  ExpectReport(
      "kernel: block 0, thread 5: In[9] of 'rows' is out of bounds: the span has 8 elements of 4 "
      "bytes from byte 0 of the memory on",
      [](Spans spans) {
        if (simt::ThreadIndex() == 5) spans.out.Set(0, spans.in[9]);
        simt::SyncBlock();
      },
      {1, 64});
}

}  // namespace
}  // namespace recurve
