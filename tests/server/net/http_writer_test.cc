// SPDX-License-Identifier: Apache-2.0
// HttpServer's answers that come later, or in pieces.
#include <atomic>
#include <chrono>
#include <deque>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "engine/base/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/net/http_server.h"
#include "tests/server/http_client.h"

namespace recurve {
namespace {

using testing::HasSubstr;
using testing::Not;

// A server whose requests the test answers.
class HttpWriterTest : public testing::Test {
 protected:
  struct Call {
    HttpRequest request;
    std::shared_ptr<HttpResponseWriter> writer;
  };

  HttpWriterTest() { options_.stall_timeout = std::chrono::hours(1); }
  ~HttpWriterTest() override { calls_.clear(); }

  void Start() {
    auto listener = Listener::Bind(*ParseAddress("127.0.0.1:0"));
    ASSERT_TRUE(listener.ok()) << listener.status();
    ASSERT_TRUE((*listener)->Listen().ok());
    server_ = std::make_unique<HttpServer>(*std::move(listener), options_);
    const absl::Status serving =
        server_->Serve([this](HttpRequest request, std::shared_ptr<HttpResponseWriter> writer) {
          const MutexLock lock(mutex_);
          calls_.push_back({std::move(request), std::move(writer)});
          changed_.NotifyAll();
        });
    ASSERT_TRUE(serving.ok()) << serving;
  }
  Call NextCall() {
    const MutexLock lock(mutex_);
    while (calls_.empty()) changed_.Wait(mutex_);
    Call call = std::move(calls_.front());
    calls_.pop_front();
    return call;
  }
  HttpClient Ask(const std::string& path = "/a") {
    HttpClient client(server_->address());
    EXPECT_TRUE(client.connected());
    client.Send("GET " + path + " HTTP/1.1\r\nHost: test\r\nX-Test: Yes\r\nx-test: no\r\n\r\n");
    return client;
  }
  template <typename Condition>
  static void WaitUntil(Condition condition) {
    while (!condition()) std::this_thread::yield();
  }

  HttpServerOptions options_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<Call> calls_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpWriterTest, AnAnswerMayComeLaterAndFromAnyThread) {
  Start();
  HttpClient client = Ask();
  Call call = NextCall();
  EXPECT_EQ(call.request.headers.at("x-test"), "Yes");
  EXPECT_TRUE(client.IsSilent());
  EXPECT_EQ(server_->counts().busy, 1U);
  std::thread([&call] { call.writer->Send({.content_type = "text/x", .body = "late"}); }).join();
  EXPECT_EQ(client.Read().body, "late");
  client.Send("GET /b HTTP/1.1\r\nHost: test\r\n\r\n");
  Call next = NextCall();
  call.writer.reset();  // of no effect on the next answer
  next.writer->Send({.body = "next"});
  EXPECT_EQ(client.Read().body, "next");
  WaitUntil([this] { return server_->counts().busy == 0; });
}

TEST_F(HttpWriterTest, AnAnswerMayComeInPieces) {
  Start();
  HttpClient client = Ask();
  Call call = NextCall();
  call.writer->Begin({.content_type = "text/event-stream", .headers = {{"X-Test", "yes"}}});
  call.writer->Write("one", nullptr);
  std::string head = client.ReadHead();
  EXPECT_THAT(head, HasSubstr("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(head, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(head, HasSubstr("X-Test: yes\r\n"));
  EXPECT_THAT(head, Not(HasSubstr("Content-Length")));
  EXPECT_EQ(client.ReadPiece(), "one");
  std::promise<void> written;
  call.writer->Write(std::string(300, 'x'), [&written] { written.set_value(); });
  written.get_future().get();
  EXPECT_EQ(client.ReadPiece(), std::string(300, 'x'));
  call.writer->End();
  EXPECT_EQ(client.ReadPiece(), "");
  client.Send("GET /b HTTP/1.1\r\nHost: test\r\n\r\n");  // the connection goes on
  NextCall().writer->Send({.body = "next"});
  EXPECT_EQ(client.Read().body, "next");
}

TEST_F(HttpWriterTest, ToHttp10TheEndOfTheConnectionIsThatOfTheAnswer) {
  Start();
  HttpClient client(server_->address());
  client.Send("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  Call call = NextCall();
  call.writer->Begin({.content_type = "text/x"});
  call.writer->Write("one", nullptr);
  call.writer->End();
  EXPECT_THAT(client.ReadHead(), Not(HasSubstr("chunked")));
  EXPECT_TRUE(client.WaitUntilClosed(/*discard=*/true));
}

TEST_F(HttpWriterTest, AWriterLearnsThatItsClientHasGone) {
  Start();
  std::promise<void> gone;
  Call call;
  {
    const HttpClient client = Ask();
    call = NextCall();
    call.writer->WhenGone([&gone] { gone.set_value(); });
  }
  gone.get_future().get();
  std::promise<void> told;  // though nobody takes it
  call.writer->Begin({});
  call.writer->Write("one", nullptr);
  call.writer->Write("two", [&told] { told.set_value(); });
  told.get_future().get();
  call.writer->End();
}

TEST_F(HttpWriterTest, NoBodyIsToldThatItsClientHasGoneAfterTheAnswer) {
  Start();
  std::atomic<int> gone = 0;
  {
    HttpClient client = Ask();
    const Call call = NextCall();
    call.writer->WhenGone([&gone] { ++gone; });
    call.writer->Send({.body = "all"});
    EXPECT_EQ(client.Read().body, "all");
  }
  WaitUntil([this] { return server_->counts().open == 0; });
  EXPECT_EQ(gone, 0);
}

TEST_F(HttpWriterTest, AnAnswerWithoutAnEndClosesTheConnection) {
  Start();
  HttpClient client = Ask();
  NextCall();  // and its writer goes
  EXPECT_TRUE(client.WaitUntilClosed());
  HttpClient half = Ask();
  Call call = NextCall();
  call.writer->Begin({});
  call.writer->Write("half", nullptr);
  EXPECT_NE(half.ReadHead(), "");
  EXPECT_EQ(half.ReadPiece(), "half");
  call.writer.reset();
  EXPECT_EQ(half.ReadPiece(), "");
}

TEST_F(HttpWriterTest, PiecesWaitForAClientThatDoesNotRead) {
  options_.stall_timeout = std::chrono::seconds(1);
  Start();
  HttpClient client = Ask();
  Call call = NextCall();
  std::promise<void> gone;
  std::atomic<int> written = 0;
  call.writer->WhenGone([&gone] { gone.set_value(); });
  call.writer->Begin({});
  call.writer->Write(std::string(64 << 20, 'x'), [&written] { ++written; });
  EXPECT_EQ(written, 0);
  gone.get_future().get();  // after the stall timeout
  WaitUntil([&written] { return written == 1; });
  EXPECT_EQ(server_->counts().timed_out, 1U);
}

TEST_F(HttpWriterTest, ASlowAnswerIsNoSilentConnection) {
  options_.stall_timeout = std::chrono::milliseconds(500);
  Start();
  HttpClient client = Ask();
  Call call = NextCall();
  std::this_thread::sleep_for(std::chrono::seconds(1));
  call.writer->Send({.body = "late"});
  EXPECT_EQ(client.Read().body, "late");
}

TEST_F(HttpWriterTest, BusyConnectionsMakeNoRoomWhereTheyAreSpared) {
  options_.max_connections = 2;
  options_.spare_busy = true;
  Start();
  HttpClient first = Ask("/1");
  Call busy = NextCall();
  HttpClient silent(server_->address());
  WaitUntil([this] { return server_->counts().open == 2; });
  HttpClient second = Ask("/2");  // in place of the silent one
  EXPECT_TRUE(silent.WaitUntilClosed());
  Call also_busy = NextCall();
  HttpClient third(server_->address());
  EXPECT_TRUE(third.WaitUntilClosed());
  EXPECT_EQ(server_->counts().refused, 1U);
  EXPECT_EQ(server_->counts().evicted, 1U);
  busy.writer->Send({.body = "1"});
  also_busy.writer->Send({.body = "2"});
  EXPECT_EQ(first.Read().body, "1");
  EXPECT_EQ(second.Read().body, "2");
}

TEST_F(HttpWriterTest, AfterTheLastConnectionAnswersThatHaveBegunGoOn) {
  Start();
  HttpClient busy = Ask();
  Call call = NextCall();
  HttpClient silent(server_->address());
  WaitUntil([this] { return server_->counts().open == 2; });
  const Address address = server_->address();
  server_->StopAccepting();
  EXPECT_TRUE(silent.WaitUntilClosed());
  EXPECT_FALSE(HttpClient(address).connected());
  call.writer->Send({.body = "last"});
  const HttpAnswer answer = busy.Read();
  EXPECT_EQ(answer.body, "last");
  EXPECT_THAT(answer.head, HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(busy.WaitUntilClosed());
}

TEST_F(HttpWriterTest, WhoWaitsForTheWordToSendABodyGetsIt) {
  options_.max_body_bytes = 4;
  Start();
  HttpClient client(server_->address());
  client.Send(
      "POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(client.ReadHead(), HasSubstr("HTTP/1.1 100 Continue\r\n"));
  client.Send("body");
  Call call = NextCall();
  EXPECT_EQ(call.request.body, "body");
  call.writer->Send({.body = "all"});
  EXPECT_EQ(client.Read().body, "all");
  client.Send(
      "POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.Read().status, 413);  // without having sent it
}

}  // namespace
}  // namespace recurve
