// SPDX-License-Identifier: Apache-2.0
// What a refusal costs whoever is refused: allocations, not time.
#include <cstdint>
#include <functional>
#include <latch>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/allocations.h"
#include "tests/engine/small_engine.h"

namespace recurve {
namespace {

// The status that says why, with its text.
constexpr uint64_t kMostAllocations = 4;
constexpr uint64_t kMostBytes = 256;

// A full queue refuses a request without a copy of it, or a look at its prompt: what that costs is
// the same for a byte and for a megabyte.
TEST(RefusalTest, AllocatesLittleWhateverTheRequest) {
  std::latch in_step(1), go_on(1);
  const auto engine = MakeSmallEngine([&](uint32_t epoch) {
    if (epoch == 1) in_step.count_down();
    go_on.wait();
    return absl::OkStatus();
  });
  const auto sink = std::make_shared<Sink>();
  ASSERT_TRUE(engine->Start(IdsRequest({1, 2}, 10), sink).ok());
  in_step.wait();  // nobody leaves the queue until it is over
  while (engine->Start(IdsRequest({1, 2}, 10), std::make_shared<Sink>()).ok()) {
  }
  Request text = IdsRequest({}, 10);
  text.prompt = std::string(1 << 20, 'x');
  Request ids = IdsRequest(std::vector<TokenId>(1 << 18, 1), 10);
  ids.stop_strings = std::vector<std::string>(kMaxStopStrings, std::string(200, 's'));
  for (TokenId id = 0; id < 97; ++id) ids.logit_bias[id] = 1.0F;
  ids.samples = 2;
  for (Request& request : {std::ref(text), std::ref(ids)}) {
    const uint64_t allocations = AllocationsOfThisThread();
    const uint64_t bytes = AllocatedBytesOfThisThread();
    const auto started = engine->Start(std::move(request), sink);
    EXPECT_LE(AllocationsOfThisThread() - allocations, kMostAllocations);
    EXPECT_LE(AllocatedBytesOfThisThread() - bytes, kMostBytes);
    EXPECT_EQ(started.status().code(), absl::StatusCode::kResourceExhausted);
  }
  go_on.count_down();
}

}  // namespace
}  // namespace recurve
