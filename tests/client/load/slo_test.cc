// SPDX-License-Identifier: Apache-2.0
#include "client/load/slo.h"

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Slo Parsed(const std::string& text) { return Slo::Parse(text).value(); }

TEST(SloTest, IsAListOfLimitsInMilliseconds) {
  const Slo slo = Parsed("itl:50,ttft:200.5");
  EXPECT_THAT(slo.limits(), ElementsAre(0.2005, 0.05, std::nullopt, std::nullopt));
  EXPECT_EQ(slo.ToText(), "TTFT <= 200.5 ms, ITL <= 50 ms");
}

TEST(SloTest, SaysWhatIsWrong) {
  for (const char* text : {"", "ttft", "ttft:", "ttft:0", "ttft:-1", "ttft:nan", "ttft:inf",
                           "ttft:1:2", "speed:5", "ttft:5,", "TTFT:5"}) {
    const auto slo = Slo::Parse(text);
    ASSERT_FALSE(slo.ok()) << text;
    EXPECT_THAT(std::string(slo.status().message()), HasSubstr("ttft, itl, tpot, e2e")) << text;
  }
  EXPECT_THAT(std::string(Slo::Parse("ttft:1,ttft:2").status().message()), HasSubstr("ttft twice"));
}

TEST(SloTest, NamesTheLimitsThatARequestMisses) {
  RequestRecord record;
  record.intended = 1;
  record.sent = 1.5;                               // its wait in the client counts
  record.messages = {{2, 1}, {2.5, 5}, {4.5, 5}};  // TTFT 1, ITL 0.1 and 0.4, TPOT 0.25
  record.ended = 5;
  EXPECT_THAT(Parsed("ttft:1000,itl:400,tpot:250,e2e:4000").MissedBy(record), IsEmpty());
  EXPECT_THAT(Parsed("ttft:999,itl:399,tpot:249,e2e:3999").MissedBy(record),
              ElementsAre("ttft", "itl", "tpot", "e2e"));
  EXPECT_THAT(Parsed("itl:399,e2e:4001").MissedBy(record), ElementsAre("itl"));
}

TEST(SloTest, WhatWasNotMeasuredMissesNothing) {
  RequestRecord record;
  record.messages = {{1, 1}};
  record.ended = 1;
  EXPECT_THAT(Parsed("itl:1,tpot:1").MissedBy(record), IsEmpty());
}

}  // namespace
}  // namespace recurve::client
