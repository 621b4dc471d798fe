// SPDX-License-Identifier: Apache-2.0
// Calls over several servers that refuse, push back and go.
#include <thread>

#include "client/client.h"
#include "client/prefix_key.h"
#include "gmock/gmock.h"
#include "tests/client/replicas/relay.h"

namespace recurve::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class BalanceTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = new RealServer; }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }

  BalanceTest() {
    for (const auto& relay : relays_) options_.servers.push_back(relay->address());
    options_.servers.erase(options_.servers.begin());
    std::sort(options_.servers.begin(), options_.servers.end());
  }

  absl::Status Generate(Client& client, const CallOptions& options = {},
                        const std::string& prompt = "import os") {
    v1::GenerateRequest request;
    request.set_text(prompt);
    request.mutable_stop()->set_max_tokens(3);
    return client.Generate(request, options, [](const v1::GenerateResponse&) { return true; });
  }
  // Of the calls so far, by the number of their server in the list, behind the first that had one.
  std::vector<size_t> Servers() const {
    std::vector<size_t> numbers;
    for (const std::string& relay : script_.relays()) {
      const auto found = std::find(options_.servers.begin(), options_.servers.end(), relay);
      numbers.push_back(static_cast<size_t>(found - options_.servers.begin()));
    }
    if (numbers.empty()) return numbers;
    const size_t first = numbers.front();
    for (size_t& number : numbers) {
      number = (number + options_.servers.size() - first) % options_.servers.size();
    }
    return numbers;
  }

  static RealServer* server_;
  Script script_;
  const std::vector<std::unique_ptr<Relay>> relays_ = [this] {
    std::vector<std::unique_ptr<Relay>> relays;
    for (int i = 0; i < 3; ++i) {
      relays.push_back(std::make_unique<Relay>(server_->address(), &script_));
    }
    return relays;
  }();
  ClientOptions options_;
};

RealServer* BalanceTest::server_ = nullptr;

TEST_F(BalanceTest, CallsTakeTurns) {
  options_.balance = Balance::kRoundRobin;
  Client client(options_);
  for (int i = 0; i < 6; ++i) ASSERT_EQ(Generate(client), absl::OkStatus());
  EXPECT_THAT(Servers(), ElementsAre(0, 1, 2, 0, 1, 2));
}

TEST_F(BalanceTest, PromptsThatBeginAlikeStayTogetherAndSayTheirPrefix) {
  options_.balance = Balance::kPrefixAffinity;
  options_.prefix_tokens = 2;
  Client client(options_);
  for (const char* end : {"one", "two", "three", "four"}) {
    ASSERT_EQ(Generate(client, {}, std::string("12345678") + end), absl::OkStatus());
  }
  const std::vector<size_t> servers = Servers();
  EXPECT_EQ(std::set<size_t>(servers.begin(), servers.end()).size(), 1U);
  v1::GenerateRequest request;
  request.set_text("12345678");
  for (const auto& relay : relays_) {
    if (relay->address() != script_.relays().front()) continue;
    EXPECT_EQ(relay->prefix_header(), PrefixHeaderValue(PrefixKey(request, 2)));
  }
}

TEST_F(BalanceTest, WhatWasRefusedGoesToAnother) {
  options_.attempts = 3;
  Client client(options_);
  script_.Add({Fate::Kind::kRefuse});
  script_.Add({Fate::Kind::kFull, 0, "60000"});
  CallReport report;
  CallOptions call;
  call.report = &report;
  EXPECT_EQ(Generate(client, call), absl::OkStatus());
  EXPECT_THAT(Servers(), ElementsAre(0, 1, 2));
  EXPECT_EQ(report.tries, 3);
  EXPECT_EQ(report.resumes, 0);
  EXPECT_EQ(report.last_server, script_.relays().back());
  EXPECT_EQ(Generate(client), absl::OkStatus());
  EXPECT_THAT(Servers(), ElementsAre(0, 1, 2, 2)) << "the others are left out";
}

TEST_F(BalanceTest, OneTryIsOne) {
  Client client(options_);
  script_.Add({Fate::Kind::kRefuse});
  EXPECT_TRUE(absl::IsUnavailable(Generate(client)));
  script_.Add({Fate::Kind::kFull, 0, "60000"});
  const absl::Status full = Generate(client);
  EXPECT_EQ(full.GetPayload(kRetryPushbackPayload), absl::Cord("60000"));
  EXPECT_EQ(Servers().size(), 2U);
}

TEST_F(BalanceTest, WhenAllAreFullACallWaitsForTheFirst) {
  options_.attempts = 4;
  Client client(options_);
  script_.Add({Fate::Kind::kFull, 0, "60000"});
  script_.Add({Fate::Kind::kFull, 0, "50"});
  script_.Add({Fate::Kind::kFull, 0, "60000"});
  EXPECT_EQ(Generate(client), absl::OkStatus());
  EXPECT_THAT(Servers(), ElementsAre(0, 1, 2, 1));
}

TEST_F(BalanceTest, NobodyWaitsBeyondTheDeadline) {
  options_.attempts = 10;
  Client client(options_);
  for (int i = 0; i < 3; ++i) script_.Add({Fate::Kind::kFull, 0, "600000"});
  CallOptions call;
  call.timeout = std::chrono::seconds(300);
  for (int i = 0; i < 2; ++i) {
    const absl::Status status = Generate(client, call);
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("every server is full"));
    EXPECT_TRUE(status.GetPayload(kRetryPushbackPayload).has_value());
    v1::GenerateRequest request;
    request.set_text("import os");
    EXPECT_TRUE(absl::IsResourceExhausted(client.Complete(request, call).status()));
  }
  EXPECT_EQ(Servers().size(), 3U);
}

TEST_F(BalanceTest, ServersThatWantNoMoreAreObeyed) {
  options_.attempts = 10;
  for (const char* pushback : {"-1", "soon"}) {
    Client client(options_);
    script_.Add({Fate::Kind::kFull, 0, pushback});
    EXPECT_TRUE(absl::IsResourceExhausted(Generate(client))) << pushback;
  }
  EXPECT_EQ(Servers().size(), 2U);
}

TEST_F(BalanceTest, TheBudgetBoundsWhatADyingClusterGets) {
  options_.attempts = 2;
  options_.retry_budget = 3;
  Client client(options_);
  for (int i = 0; i < 100; ++i) script_.Add({Fate::Kind::kRefuse});
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(Generate(client).ok());
  EXPECT_EQ(Servers().size(), 13U);
}

TEST_F(BalanceTest, CompleteIsTriedAgainToo) {
  options_.attempts = 3;
  Client client(options_);
  script_.Add({Fate::Kind::kRefuse});
  script_.Add({Fate::Kind::kFull, 0, "60000"});
  v1::GenerateRequest request;
  request.set_text("import os");
  CallReport report;
  CallOptions call;
  call.report = &report;
  const auto answer = client.Complete(request, call);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(report.tries, 3);
}

TEST_F(BalanceTest, AStreamThatWaitsForItsNextTryCanBeCancelled) {
  options_.attempts = 10;
  Client client(options_);
  for (int i = 0; i < 3; ++i) script_.Add({Fate::Kind::kFull, 0, "600000"});
  v1::GenerateRequest request;
  request.set_text("import os");
  absl::Status ended;
  auto stream = client.StartGenerate(
      request, {}, [](const v1::GenerateResponse&) {},
      [&ended](const absl::Status& status) { ended = status; });
  while (Servers().size() < 3) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  stream.reset();
  EXPECT_TRUE(absl::IsCancelled(ended)) << ended;
}

TEST_F(BalanceTest, AServerThatIsGoneIsLeftOut) {
  options_.attempts = 2;
  options_.servers = {"127.0.0.1:1", relays_[0]->address()};  // nobody listens on the first
  Client client(options_);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Generate(client), absl::OkStatus());
  EXPECT_EQ(script_.relays().size(), 5U);
}

TEST_F(BalanceTest, EveryServerTellsHowBusyItIs) {
  options_.servers = {"127.0.0.1:1", server_->address()};  // nobody listens on the first
  Client client(options_);
  CallOptions options;
  options.timeout = std::chrono::seconds(30);
  const std::vector<ServerLoad> loads = client.GetLoads(options);
  ASSERT_EQ(loads.size(), 2U);
  EXPECT_EQ(loads[0].server, options_.servers[0]);
  EXPECT_TRUE(absl::IsUnavailable(loads[0].load.status())) << loads[0].load.status();
  EXPECT_EQ(loads[1].server, options_.servers[1]);
  ASSERT_TRUE(loads[1].load.ok()) << loads[1].load.status();
  EXPECT_GT(loads[1].load->slots(), 0U);
  options.request_id = std::string(kMaxRequestIdBytes + 1, 'a');
  EXPECT_TRUE(absl::IsInvalidArgument(client.GetLoads(options).at(0).load.status()));
}

TEST_F(BalanceTest, EveryAddressOfANameIsAServer) {
  const std::string& address = relays_[0]->address();
  options_.servers = {"dns:///localhost" + address.substr(address.find(':'))};
  options_.attempts = 3;  // localhost may be ::1 too, where nobody listens
  Client client(options_);
  CallReport report;
  CallOptions call;
  call.report = &report;
  EXPECT_EQ(Generate(client, call), absl::OkStatus());
  EXPECT_EQ(report.last_server, "ipv4:" + address);
}

}  // namespace
}  // namespace recurve::client
