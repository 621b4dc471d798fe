// SPDX-License-Identifier: Apache-2.0
#include "client/load/faults.h"

#include <map>

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;

TEST(FaultsTest, EachKindHasItsShare) {
  const Faults faults = Faults::Parse("cancel:0.2,deadline:0.3:2s,slow:0.1:300ms").value();
  std::mt19937_64 random(3);
  std::map<std::string, int> counts;
  double tokens = 0, deadlines = 0;
  for (int i = 0; i < 50000; ++i) {
    const Fault fault = faults.Draw(random, 10);
    ++counts[FaultName(fault.kind)];
    EXPECT_LE(fault.tokens, 10U);
    tokens += fault.tokens;
    if (fault.kind == Fault::Kind::kDeadline) deadlines += fault.seconds;
    EXPECT_TRUE(fault.kind != Fault::Kind::kSlow || fault.seconds == 0.3);
  }
  EXPECT_NEAR(counts["cancel"], 10000, 500);
  EXPECT_NEAR(counts["deadline"], 15000, 600);
  EXPECT_NEAR(counts["slow"], 5000, 400);
  EXPECT_NEAR(counts[""], 20000, 600);
  EXPECT_NEAR(tokens / counts["cancel"], 5, 0.2);
  EXPECT_NEAR(deadlines / counts["deadline"], 1, 0.05);
}

TEST(FaultsTest, AllOrNone) {
  std::mt19937_64 random(3);
  const Faults all = Faults::Parse("cancel:1").value();
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(all.Draw(random, 5).kind, Fault::Kind::kCancel);
    EXPECT_EQ(Faults().Draw(random, 5).kind, Fault::Kind::kNone);
  }
}

TEST(FaultsTest, SaysWhatIsWrong) {
  for (const char* text :
       {"", "cancel", "cancel:0", "cancel:1.1", "cancel:nan", "cancel:0.1:2s", "deadline:0.1",
        "deadline:0.1:5", "deadline:0.1:-5s", "hang:0.1", "slow:0.1", "slow:2:1s", "cancel:0.1,"}) {
    const auto faults = Faults::Parse(text);
    ASSERT_FALSE(faults.ok()) << text;
    EXPECT_THAT(std::string(faults.status().message()), HasSubstr("deadline:SHARE:TIME")) << text;
  }
  EXPECT_THAT(std::string(Faults::Parse("cancel:0.1,cancel:0.2").status().message()),
              HasSubstr("cancel twice"));
  EXPECT_THAT(
      std::string(Faults::Parse("cancel:0.6,deadline:0.2:1s,slow:0.3:1s").status().message()),
      HasSubstr("more than 1 in all"));
}

}  // namespace
}  // namespace recurve::client
