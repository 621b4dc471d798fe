// SPDX-License-Identifier: Apache-2.0
#include "client/load/make_target.h"

#include "client/load/oip_target.h"
#include "client/load/openai_target.h"
#include "client/load/recurve_target.h"
#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;

ConnectionFlags At(const std::string& server) {
  ConnectionFlags connection;
  connection.server = server;
  return connection;
}

template <typename Kind>
bool Makes(const TargetFlags& flags, const std::string& server) {
  const auto target = MakeTarget(flags, At(server));
  EXPECT_TRUE(target.ok()) << target.status();
  return target.ok() && dynamic_cast<const Kind*>(target->get()) != nullptr;
}

TEST(MakeTargetTest, TheServersNameOrTheFlagSaysTheProtocol) {
  EXPECT_TRUE(Makes<RecurveTarget>({}, "127.0.0.1:1"));
  EXPECT_TRUE(Makes<RecurveTarget>({}, "127.0.0.1:1,127.0.0.1:2"));
  EXPECT_TRUE(Makes<RecurveTarget>({}, "dns:///localhost:1"));
  EXPECT_TRUE(Makes<OpenAiTarget>({}, "http://127.0.0.1:1"));
  EXPECT_TRUE(Makes<OpenAiTarget>({}, "https://127.0.0.1:1,http://127.0.0.1:1"));
  EXPECT_TRUE(Makes<OpenAiTarget>({.protocol = "openai", .model = "m", .vocab_size = 5},
                                  "http://127.0.0.1:1,http://127.0.0.1:2"));
  EXPECT_TRUE(Makes<OipTarget>({.protocol = "oip", .model = "m"}, "127.0.0.1:1"));
}

TEST(MakeTargetTest, WhatDoesNotFitIsNamed) {
  const auto refusal = [](const TargetFlags& flags, const ConnectionFlags& connection) {
    return std::string(MakeTarget(flags, connection).status().message());
  };
  EXPECT_THAT(refusal({.model = "m"}, At("a:1")), HasSubstr("--model"));
  EXPECT_THAT(refusal({.vocab_size = 1}, At("a:1")), HasSubstr("--vocab_size"));
  EXPECT_THAT(refusal({.extra_body = {{"user", "x"}}}, At("a:1")), HasSubstr("--extra_body"));
  EXPECT_THAT(refusal({.protocol = "oip"}, At("a:1")), HasSubstr("--model"));
  EXPECT_THAT(refusal({.protocol = "openai"}, At("a:1")), HasSubstr("http[s]://HOST:PORT"));
  EXPECT_THAT(refusal({.protocol = "oip", .model = "m"}, At("http://a:1")),
              HasSubstr("for --protocol=oip"));
  ConnectionFlags trusts = At("http://a:1,http://b:1");
  trusts.client.credentials.tls_ca = "ca";
  EXPECT_THAT(refusal({}, trusts), HasSubstr("https://HOST:PORT"));
  ConnectionFlags resumes = At("http://a:1"), balances = resumes;
  resumes.resume = true;
  balances.balance = "round_robin";
  EXPECT_THAT(refusal({}, resumes), HasSubstr("--resume"));
  EXPECT_THAT(refusal({}, balances), HasSubstr("--balance"));
}

}  // namespace
}  // namespace recurve::client
