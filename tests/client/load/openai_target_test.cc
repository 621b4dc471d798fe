// SPDX-License-Identifier: Apache-2.0
// Against an HTTP server that says what each test wants.
#include "client/load/openai_target.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "tests/client/load/fake_http_server.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;

std::string Answer(const std::string& body, const std::string& head = "200 OK\r\n") {
  return absl::StrCat("HTTP/1.1 ", head, "Content-Length: ", body.size(), "\r\n\r\n", body);
}

// In chunks of HTTP of so many bytes.
std::string Stream(const std::string& body, size_t cut) {
  std::string answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (size_t at = 0; at < body.size(); at += cut) {
    const std::string piece = body.substr(at, cut);
    absl::StrAppend(&answer, absl::Hex(piece.size()), "\r\n", piece, "\r\n");
  }
  return answer + "0\r\n\r\n";
}

constexpr char kTwoChunks[] =
    "data: {\"choices\": [{\"text\": \"a\"}]}\n\n"
    "data: {\"choices\": [{\"text\": \"b\"}], \"usage\": {\"completion_tokens\": 3}}\n\n"
    "data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 5, \"completion_tokens\": 3}}\n\n"
    "data: [DONE]\n\n";

struct Outcome {
  std::vector<Heard> heard;
  absl::Status status;
};

std::unique_ptr<OpenAiTarget> TargetAt(const std::string& url) {
  ConnectionFlags connection;
  connection.server = url;
  connection.client.credentials.token = "id.secret";
  auto target =
      OpenAiTarget::Create(connection, {.model = "tiny", .extra = nlohmann::json::object()});
  EXPECT_TRUE(target.ok()) << target.status();
  return *std::move(target);
}

// Generates, and waits for the end.
Outcome Generate(OpenAiTarget& target, const CallOptions& call = {}) {
  v1::GenerateRequest request;
  request.set_text("say");
  Outcome outcome;
  absl::Notification ended;
  const auto stream = target.Start(
      request, call,
      [&](const Heard& heard, MessageReader& /*reader*/) {
        outcome.heard.push_back(heard);
        return true;
      },
      [&](const absl::Status& status) {
        outcome.status = status;
        ended.Notify();
      });
  ended.WaitForNotification();
  return outcome;
}

TEST(OpenAiTargetTest, StreamsAreHeardHoweverTheyAreCut) {
  size_t cut = 0;
  std::string request;
  FakeHttpServer server([&](const std::string& heard) {
    request = heard;
    return Stream(kTwoChunks, cut);
  });
  const auto target = TargetAt(server.url());
  for (cut = 1; cut < 300; cut = 2 * cut + 1) {
    const Outcome outcome = Generate(*target);
    EXPECT_TRUE(outcome.status.ok()) << outcome.status;
    ASSERT_EQ(outcome.heard.size(), 3U);
    EXPECT_FALSE(outcome.heard[0].tokens);  // not told
    EXPECT_EQ(outcome.heard[1].tokens, 3U);
    EXPECT_EQ(outcome.heard[2].tokens, 0U);
    EXPECT_EQ(outcome.heard[2].generated_tokens, 3U);
    EXPECT_EQ(outcome.heard[2].prompt_tokens, 5U);
  }
  EXPECT_THAT(request, HasSubstr("POST /v1/completions HTTP/1.1\r\n"));
  EXPECT_THAT(request, HasSubstr("Authorization: Bearer id.secret\r\n"));
  EXPECT_THAT(request, HasSubstr("\"prompt\":\"say\""));
  EXPECT_EQ(server.connections(), 1);  // which served them all
}

TEST(OpenAiTargetTest, ReadersMayTakeTheirTime) {
  FakeHttpServer server([](const std::string& /*request*/) { return Stream(kTwoChunks, 1000); });
  const auto target = TargetAt(server.url());
  v1::GenerateRequest request;
  absl::Notification ended;
  absl::Mutex mutex;
  int heard = 0, let_go = 0;
  MessageReader* held = nullptr;
  const auto stream = target->Start(
      request, {},
      [&](const Heard& /*message*/, MessageReader& reader) {
        const absl::MutexLock lock(&mutex);
        EXPECT_EQ(heard++, let_go);
        held = &reader;
        return false;
      },
      [&](const absl::Status& status) {
        EXPECT_TRUE(status.ok()) << status;
        ended.Notify();
      });
  for (int i = 0; i < 3; ++i) {
    {
      const absl::MutexLock lock(&mutex);
      mutex.Await(absl::Condition(
          +[](MessageReader** reader) { return *reader != nullptr; }, &held));
      ++let_go;
    }
    EXPECT_FALSE(ended.HasBeenNotified());
    std::exchange(held, nullptr)->Done();
  }
  ended.WaitForNotification();
  EXPECT_EQ(heard, 3);
}

TEST(OpenAiTargetTest, WhatGoesWrongIsSaid) {
  std::string answer;
  FakeHttpServer server([&](const std::string& /*request*/) { return answer; });
  const auto target = TargetAt(server.url());
  answer = Answer(R"({"error": {"message": "full"}})", "429 Too Many\r\nRetry-After: 3\r\n");
  absl::Status status = Generate(*target).status;
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(status.message(), "HTTP 429: full");
  EXPECT_EQ(status.GetPayload(kRetryPushbackPayload), absl::Cord("3000"));
  answer = Answer("data: {\"choices\": [{\"text\": \"a\"}]}\n\n");
  EXPECT_THAT(std::string(Generate(*target).status.message()), HasSubstr("without [DONE]"));
  answer = Answer("data: {\n\n");
  EXPECT_TRUE(absl::IsInvalidArgument(Generate(*target).status));
  answer = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nConnection: close\r\n\r\ndata: ";
  EXPECT_TRUE(absl::IsUnavailable(Generate(*target).status));
  answer = "no HTTP\r\nConnection: close\r\n\r\n";
  EXPECT_TRUE(absl::IsUnavailable(Generate(*target).status));
}

TEST(OpenAiTargetTest, AConnectionThatWasClosedIsReplaced) {
  int requests = 0;
  FakeHttpServer server([&](const std::string& /*request*/) {
    return ++requests == 2 ? std::string() : Stream(kTwoChunks, 1000);
  });
  const auto target = TargetAt(server.url());
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(Generate(*target).status.ok());
  EXPECT_EQ(requests, 3);
  EXPECT_EQ(server.connections(), 2);
}

TEST(OpenAiTargetTest, CallsEndEarlyWhenTheyAreTo) {
  FakeHttpServer server([](const std::string& request) {
    return request.find("GET") == 0 ? std::string()
                                    : "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
  });
  const auto target = TargetAt(server.url());
  CallOptions short_call;
  short_call.timeout = std::chrono::milliseconds(5);
  EXPECT_TRUE(absl::IsDeadlineExceeded(Generate(*target, short_call).status));
  absl::Status status;
  absl::Notification ended;
  const auto stream = target->Start(
      {}, {}, [](const Heard& /*heard*/, MessageReader& /*reader*/) { return true; },
      [&](const absl::Status& with) {
        status = with;
        ended.Notify();
      });
  stream->Cancel();
  ended.WaitForNotification();
  EXPECT_TRUE(absl::IsCancelled(status));
}

TEST(OpenAiTargetTest, TheServerSaysWhichModelItHas) {
  std::string answer = Answer(R"({"data": [{"id": "first"}, {"id": "second"}]})");
  FakeHttpServer server([&](const std::string& /*request*/) { return answer; });
  ConnectionFlags connection;
  connection.server = server.url() + "/v1/";
  const auto describe = [&] {
    const auto target = OpenAiTarget::Create(connection, {.vocab_size = 7});
    EXPECT_TRUE(target.ok()) << target.status();
    return (*target)->Describe();
  };
  const auto info = describe();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->model_name, "first");
  EXPECT_EQ(info->vocab_size, 7U);
  answer = Answer("{}", "401 No\r\n");
  EXPECT_TRUE(absl::IsUnauthenticated(describe().status()));
}

TEST(OpenAiTargetTest, ServersThatAreNotThereAreSaidSo) {
  const absl::Status status = Generate(*TargetAt("http://127.0.0.1:1")).status;
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot connect to 127.0.0.1:1"));
  EXPECT_TRUE(status.GetPayload(kNotReachedPayload));
  const absl::Status of_v6 = Generate(*TargetAt("http://[::1]:1")).status;
  EXPECT_THAT(std::string(of_v6.message()), HasSubstr("cannot connect to [::1]:1"));
}

}  // namespace
}  // namespace recurve::client
