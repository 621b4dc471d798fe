// SPDX-License-Identifier: Apache-2.0
#include "server/net/http_server.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/scoped_directory.h"
#include "tests/server/http_client.h"

namespace recurve {
namespace {

using testing::HasSubstr;

// A server whose answer says what was asked.
class HttpServerTest : public testing::Test {
 protected:
  HttpServerTest() { options_.stall_timeout = std::chrono::hours(1); }

  void Start(const std::string& address = "127.0.0.1:0") {
    auto listener = Listener::Bind(*ParseAddress(address));
    ASSERT_TRUE(listener.ok()) << listener.status();
    ASSERT_TRUE((*listener)->Listen().ok());
    server_ = std::make_unique<HttpServer>(*std::move(listener), options_);
    const absl::Status serving = server_->Serve([](const HttpRequest& request) {
      HttpResponse response{.content_type = "text/x-test"};
      if (request.path == "/missing") response.status = 404;
      if (request.path == "/large") response.body = std::string(kLarge, 'x');
      if (!response.body.empty()) return response;
      response.body =
          absl::StrCat(request.method, " ", request.path, " ", request.query, " ", request.body);
      response.headers = {{"X-Test", "yes"}};
      return response;
    });
    ASSERT_TRUE(serving.ok()) << serving;
  }
  HttpClient Connect() {
    HttpClient client(server_->address());
    EXPECT_TRUE(client.connected());
    return client;
  }
  std::vector<HttpClient> Connect(int count) {
    std::vector<HttpClient> clients;
    for (int i = 0; i < count; ++i) clients.push_back(Connect());
    return clients;
  }

  static constexpr size_t kLarge = 64 << 20;  // more than two sockets' buffers hold
  HttpServerOptions options_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersWhatTheHandlerSays) {
  Start();
  HttpClient client = Connect();
  HttpAnswer answer = client.Get("/path?a=1&b");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "GET /path a=1&b ");
  EXPECT_THAT(answer.head, HasSubstr("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer.head, HasSubstr("\r\nContent-Type: text/x-test\r\n"));
  EXPECT_THAT(answer.head, HasSubstr("\r\nX-Test: yes\r\n"));
  EXPECT_EQ(client.Get("/missing").status, 404);
}

TEST_F(HttpServerTest, HeadHasTheLengthAndNoBody) {
  Start();
  HttpClient client = Connect();
  client.Send("HEAD /path HTTP/1.1\r\nHost: test\r\n\r\n");
  const HttpAnswer answer = client.Read(/*to_head=*/true);
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.head, HasSubstr("\r\nContent-Length: 12\r\n"));
  EXPECT_EQ(client.Get("/path").body, "GET /path  ");  // no body came before it
}

TEST_F(HttpServerTest, AConnectionServesManyRequests) {
  Start();
  HttpClient client = Connect();
  for (int i = 0; i < 1000; ++i) {
    const std::string path = absl::StrCat("/", i);
    ASSERT_EQ(client.Get(path).body, absl::StrCat("GET ", path, "  "));
  }
  EXPECT_EQ(server_->counts().open, 1U);
  EXPECT_EQ(server_->counts().answers[200], 1000U);
}

TEST_F(HttpServerTest, RequestsSentTogetherAreAnsweredInOrder) {
  Start();
  HttpClient client = Connect();
  std::string requests;
  for (int i = 0; i < 100; ++i) {
    absl::StrAppend(&requests, "GET /", i, " HTTP/1.1\r\nHost: test\r\n\r\n");
  }
  client.Send(requests);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(client.Read().body, absl::StrCat("GET /", i, "  "));
}

TEST_F(HttpServerTest, AConnectionEndsWhereItsClientSaysSo) {
  Start();
  for (const char* request :
       {"GET /a HTTP/1.0\r\n\r\n", "GET /a HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"}) {
    HttpClient client = Connect();
    client.Send(request);
    EXPECT_EQ(client.Read().body, "GET /a  ");
    EXPECT_TRUE(client.WaitUntilClosed());
  }
  HttpClient client = Connect();
  client.Send("GET /a HTTP/1.1\r\nHost: test\r\n\r\n");
  client.EndSending();
  EXPECT_EQ(client.Read().body, "GET /a  ");
  EXPECT_TRUE(client.WaitUntilClosed());
}

TEST_F(HttpServerTest, BodiesAreReadUpToTheirLimit) {
  options_.max_body_bytes = 4;
  Start();
  HttpClient client = Connect();
  client.Send("POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody");
  EXPECT_EQ(client.Read().body, "POST /a  body");
  client.Send(
      "POST /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
      "2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n");
  EXPECT_EQ(client.Read().body, "POST /a  body");
  client.Send("POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nbody!");
  EXPECT_EQ(client.Read().status, 413);
  client = Connect();
  client.Send(
      "POST /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
      "4\r\nbody\r\n1\r\n!\r\n0\r\n\r\n");
  EXPECT_EQ(client.Read().status, 413);
}

TEST_F(HttpServerTest, WhatIsNotARequestIsRefusedAndTheConnectionEnds) {
  Start();
  const std::pair<int, std::string> kCases[] = {
      {400, "nonsense\r\n\r\n"},
      {400, std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11)},  // TLS
      {400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},                               // gRPC
      {400, "GET /a HTTP/1.1\r\nno colon\r\n\r\n"},
      {400, "GET /a HTTP/1.1\r\nContent-Length: many\r\n\r\n"},
      {400, "GET /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nbb"},
      {413, "GET /a HTTP/1.1\r\nContent-Length: 1\r\n\r\nb"},
      {431, "GET /" + std::string(9000, 'a') + " HTTP/1.1\r\n\r\n"},
      {431, "GET /a HTTP/1.1\r\nX: " + std::string(9000, 'a') + "\r\n\r\n"},
      {431, "GET /a HTTP/1.1\r\nX: " + std::string(9000, 'a')},
      {431, "GET /a HTTP/1.1\r\nX: " + std::string(500000, 'a') + "\r\n\r\n"},
  };
  for (const auto& [status, bytes] : kCases) {
    HttpClient client = Connect();
    client.Send(bytes);
    const HttpAnswer answer = client.Read();
    EXPECT_EQ(answer.status, status) << bytes.substr(0, 60);
    EXPECT_THAT(answer.body, HasSubstr(std::to_string(status)));
    client.EndSending();
    EXPECT_TRUE(client.WaitUntilClosed()) << bytes.substr(0, 60);
  }
  EXPECT_EQ(server_->counts().answers, (std::map<int, uint64_t>{{400, 6}, {413, 1}, {431, 4}}));
}

TEST_F(HttpServerTest, HeadersUpToTheirLimitAreRead) {
  Start();
  EXPECT_EQ(HttpGet(server_->address(), "/" + std::string(8000, 'a')).status, 200);
}

TEST_F(HttpServerTest, SilentAndHalfSentRequestsKeepNobodyWaiting) {
  options_.max_connections = 64;
  Start();
  const std::vector<HttpClient> silent = Connect(50);
  std::vector<HttpClient> half = Connect(10);
  for (HttpClient& client : half) client.Send("GET /a HTTP/1.1\r\nHo");
  EXPECT_EQ(HttpGet(server_->address(), "/b").body, "GET /b  ");
  for (const HttpClient& client : silent) EXPECT_TRUE(client.IsSilent());
  for (HttpClient& client : half) {
    EXPECT_TRUE(client.IsSilent());
    client.Send("st: test\r\n\r\n");
    EXPECT_EQ(client.Read().body, "GET /a  ");
  }
  EXPECT_EQ(server_->counts().evicted, 0U);
}

TEST_F(HttpServerTest, ReadersThatStopKeepNobodyWaiting) {
  Start();
  std::vector<HttpClient> readers = Connect(2);
  for (HttpClient& client : readers) client.Send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
  EXPECT_EQ(HttpGet(server_->address(), "/b").body, "GET /b  ");
  for (HttpClient& client : readers) EXPECT_EQ(client.Read().body.size(), kLarge);
}

TEST_F(HttpServerTest, TheConnectionThatWasLongestSilentMakesRoom) {
  options_.max_connections = 4;
  Start();
  std::vector<HttpClient> clients = Connect(4);
  EXPECT_EQ(clients[0].Get("/a").status, 200);  // no longer the one that was silent longest
  HttpClient late = Connect();
  EXPECT_EQ(late.Get("/b").body, "GET /b  ");
  EXPECT_TRUE(clients[1].WaitUntilClosed());
  for (int i : {0, 2, 3}) EXPECT_TRUE(clients[i].IsSilent());
  EXPECT_EQ(clients[0].Get("/c").body, "GET /c  ");
  EXPECT_EQ(server_->counts().open, 4U);
  EXPECT_EQ(server_->counts().evicted, 1U);
}

TEST_F(HttpServerTest, BytesThatMakeNoRequestKeepNoConnection) {
  options_.max_connections = 2;
  Start();
  std::vector<HttpClient> clients = Connect(2);
  EXPECT_EQ(clients[1].Get("/a").status, 200);
  clients[0].Send("GET /a HTTP/1.1\r\nX: ");
  EXPECT_EQ(HttpGet(server_->address(), "/b").status, 200);
  EXPECT_TRUE(clients[0].WaitUntilClosed());
  EXPECT_TRUE(clients[1].IsSilent());
}

TEST_F(HttpServerTest, ManySilentConnectionsNeverKeepOutTheNext) {
  options_.max_connections = 4;
  Start();
  const std::vector<HttpClient> silent = Connect(60);
  EXPECT_EQ(HttpGet(server_->address(), "/b").body, "GET /b  ");
  EXPECT_EQ(server_->counts().evicted, 57U);
}

TEST_F(HttpServerTest, ConnectionsThatStallAreClosed) {
  options_.stall_timeout = std::chrono::milliseconds(20);
  Start();
  HttpClient silent = Connect();
  HttpClient half = Connect();
  half.Send("GET /a HTTP/1.1\r\nHo");
  EXPECT_TRUE(silent.WaitUntilClosed());
  EXPECT_TRUE(half.WaitUntilClosed());
  HttpClient reader = Connect();
  reader.Send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
  while (server_->counts().timed_out < 3) std::this_thread::yield();
  EXPECT_EQ(reader.Read().status, 0);  // not all of the answer came
  EXPECT_EQ(server_->counts().open, 0U);
}

TEST_F(HttpServerTest, EndsAtOnceWhateverIsOpen) {
  options_.max_connections = 64;
  Start();
  std::vector<HttpClient> silent = Connect(8);
  HttpClient half = Connect();
  half.Send("GET /a HTTP/1.1\r\nHo");
  HttpClient reader = Connect();
  reader.Send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
  while (server_->counts().answers[200] < 1) std::this_thread::yield();
  const Address address = server_->address();
  server_.reset();  // the test would time out
  for (HttpClient& client : silent) EXPECT_TRUE(client.WaitUntilClosed());
  EXPECT_TRUE(half.WaitUntilClosed());
  EXPECT_FALSE(HttpClient(address).connected());
}

TEST_F(HttpServerTest, ServesOnIpv6AndOnUnixSockets) {
  const ScopedDirectory directory;
  const std::string path = directory.path() + "/socket";
  Start("unix:" + path);
  EXPECT_EQ(HttpGet(server_->address(), "/a").body, "GET /a  ");
  EXPECT_EQ(server_->address().ToString(), "unix:" + path);
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(path));
  if (!Listener::Bind(*ParseAddress("[::1]:0")).ok()) GTEST_SKIP() << "this machine has no IPv6";
  Start("[::1]:0");
  EXPECT_EQ(HttpGet(server_->address(), "/a").body, "GET /a  ");
}

// The soft limit of open files, for as long as this lives.
class ScopedDescriptorLimit {
 public:
  explicit ScopedDescriptorLimit(rlim_t limit) {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit now{limit, before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &now);
  }
  ~ScopedDescriptorLimit() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(HttpServerTest, WithoutDescriptorsTheConnectionLongestSilentMakesRoom) {
  Start();
  HttpClient silent = Connect();
  while (server_->counts().open < 1) std::this_thread::yield();
  const int lowest_free = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
  close(lowest_free);
  {
    const ScopedDescriptorLimit limit(static_cast<rlim_t>(lowest_free) + 1);
    HttpClient next = Connect();  // has the last descriptor
    EXPECT_TRUE(silent.WaitUntilClosed());
    EXPECT_EQ(next.Get("/a").body, "GET /a  ");
  }
  EXPECT_EQ(server_->counts().evicted, 1U);
  EXPECT_EQ(HttpGet(server_->address(), "/b").body, "GET /b  ");
}

}  // namespace
}  // namespace recurve
