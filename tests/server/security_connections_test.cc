// SPDX-License-Identifier: Apache-2.0
// Health where the port speaks TLS, and what connections may do.
#include <sys/socket.h>

#include <atomic>
#include <thread>
#include <vector>

#include "engine/base/scoped_descriptor.h"
#include "gmock/gmock.h"
#include "tests/server/http_client.h"
#include "tests/server/security_fixture.h"

namespace recurve {
namespace {

namespace health = grpc::health::v1;

// ---- Health ----

TEST_F(SecurityTest, HealthHasAPlaintextPortAndKnowsWhatTheTlsPortAnswers) {
  UseTls(/*mutual=*/true);
  UseTokens();
  options_.self_check = {.interval = Milliseconds(10), .timeout = Milliseconds(60000)};
  options_.listen.health_listen = Address{"127.0.0.1", 0, ""};
  Start();
  const auto channel = grpc::CreateChannel(server_->health_address()->ToString(),
                                           grpc::InsecureChannelCredentials());
  const auto stub = health::Health::NewStub(channel);
  const auto status_of = [&](const std::string& name) {
    grpc::ClientContext context;
    health::HealthCheckRequest request;
    request.set_service(name);
    health::HealthCheckResponse response;
    EXPECT_TRUE(stub->Check(&context, request, &response).ok());
    return response.status();
  };
  EXPECT_EQ(status_of(""), health::HealthCheckResponse::SERVING);
  EXPECT_EQ(status_of("liveness"), health::HealthCheckResponse::SERVING);
  server_->SetServing(false);
  EXPECT_EQ(status_of(""), health::HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(status_of("recurve.v1.GenerationService"), health::HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(status_of("liveness"), health::HealthCheckResponse::SERVING);
  // Nothing else is there.
  for (const char* method : {"/recurve.v1.GenerationService/GetLoad",
                             "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"}) {
    EXPECT_EQ(CallMethod(channel, method, "").error_code(), grpc::StatusCode::UNIMPLEMENTED);
  }
  const std::string page = MetricsPage();
  EXPECT_EQ(MetricValue(page, "recurve_self_check_failures_total"), 0);
  EXPECT_EQ(MetricValue(page, "recurve_limit{limit=\"max_health_connections\"}"), 64);
}

// The self check is a handshake and a call: a port that speaks no TLS any more is deaf.
TEST_F(SecurityTest, ATlsPortThatAnswersNobodyIsDeaf) {
  UseTls(/*mutual=*/true);
  options_.self_check = {.interval = Milliseconds(10), .timeout = Milliseconds(400)};
  options_.listen.health_listen = Address{"127.0.0.1", 0, ""};
  std::atomic<bool> deaf = false;
  // What comes is accepted, and what gRPC gets in its place is a connection to nobody.
  std::vector<ScopedDescriptor> swallowed;
  seams_.accept = [&](int listener, sockaddr* address, socklen_t* size) {
    const int connection = accept4(listener, address, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection < 0 || !deaf) return connection;
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    swallowed.emplace_back(connection);
    swallowed.emplace_back(pair[1]);
    return pair[0];
  };
  Start();
  const auto http_status = [this](const std::string& path) {
    return HttpClient(server_->metrics_address()).Get(path).status;
  };
  while (http_status("/readyz") != 200) std::this_thread::yield();
  EXPECT_EQ(http_status("/healthz"), 200);
  deaf = true;
  while (http_status("/healthz") != 503) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(http_status("/readyz"), 503);
  const auto channel = grpc::CreateChannel(server_->health_address()->ToString(),
                                           grpc::InsecureChannelCredentials());
  grpc::ClientContext context;
  health::HealthCheckRequest request;
  request.set_service("liveness");
  health::HealthCheckResponse response;
  ASSERT_TRUE(health::Health::NewStub(channel)->Check(&context, request, &response).ok());
  EXPECT_EQ(response.status(), health::HealthCheckResponse::NOT_SERVING);
  deaf = false;
  while (http_status("/healthz") != 200) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  server_->Shutdown(std::chrono::steady_clock::now());  // before what its seam uses
}

TEST_F(SecurityTest, ConnectionsForHealthAreBounded) {
  options_.listen.health_listen = Address{"127.0.0.1", 0, ""};
  Start();
  std::vector<HttpClient> held;
  for (uint32_t i = 0; i < kMaxHealthConnections; ++i) {
    held.emplace_back(*server_->health_address());
  }
  EXPECT_TRUE(HttpClient(*server_->health_address()).WaitUntilClosed());
  EXPECT_TRUE(CheckHealth(NewChannel()).ok());  // the other port is another matter
}

// ---- Connections ----

TEST_F(SecurityTest, HandshakesThatNeverEndLetGoOfTheirConnections) {
  UseTls(/*mutual=*/false);
  options_.connection.handshake_timeout = Milliseconds(200);
  options_.listen.max_connections = 4;
  Start();
  std::vector<HttpClient> silent;
  for (int i = 0; i < 4; ++i) silent.emplace_back(server_->grpc_address());
  for (HttpClient& client : silent) EXPECT_TRUE(client.WaitUntilClosed());
  while (!CheckHealth(TlsChannel()).ok()) std::this_thread::yield();
  const std::string page = MetricsPage();
  EXPECT_EQ(MetricValue(page, "recurve_limit{limit=\"handshake_timeout\"}"), 0.2);
  EXPECT_LE(*MetricValue(page, "recurve_connections_open"), 1);
}

TEST_F(SecurityTest, SilentPlaintextConnectionsAreClosedToo) {
  options_.connection.handshake_timeout = Milliseconds(50);
  Start();
  HttpClient silent(server_->grpc_address());
  EXPECT_TRUE(silent.WaitUntilClosed(/*discard=*/true));  // what HTTP/2 begins with comes first
}

TEST_F(SecurityTest, AConnectionsAgeEnds) {
  engine_ = std::make_unique<FakeEngine>();
  options_.connection.max_age = Milliseconds(20);
  Start();
  // The call that runs goes on, without a bound.
  const auto channel = NewChannel();
  const auto stub = v1::GenerationService::NewStub(channel);
  grpc::ClientContext context;
  const auto reader = stub->Generate(&context, TextRequest());
  engine_->WaitForRequest(0);
  const auto wait_for = [&](grpc_connectivity_state wanted) {
    for (auto state = channel->GetState(false); state != wanted; state = channel->GetState(false)) {
      channel->WaitForStateChange(state, std::chrono::system_clock::now() + std::chrono::hours(1));
    }
  };
  wait_for(GRPC_CHANNEL_IDLE);  // GOAWAY has come
  engine_->Emit(1, MakeTokens({"x"}));
  engine_->End(1, {});
  EXPECT_TRUE(ReadAll(reader.get()).status.ok());
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_limit{limit=\"max_connection_age\"}"), 0.02);
}

TEST_F(SecurityTest, AnAgesGraceCutsCalls) {
  engine_ = std::make_unique<FakeEngine>();
  options_.connection.max_age = Milliseconds(10);
  options_.connection.max_age_grace = Milliseconds(10);
  Start();
  EXPECT_EQ(Generate(TextRequest()).status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(SecurityTest, StreamsOfAConnectionAreBounded) {
  engine_ = std::make_unique<FakeEngine>();
  options_.connection.max_streams = 2;
  Start();
  const auto stub = NewStub();
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&stub] {
      grpc::ClientContext context;
      EXPECT_TRUE(ReadAll(stub->Generate(&context, TextRequest()).get()).status.ok());
    });
  }
  engine_->WaitForRequest(1);
  ASSERT_TRUE(CheckHealth(NewChannel()).ok());  // another connection is another matter
  EXPECT_EQ(engine_->num_accepted(), 2U);
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_limit{limit=\"max_streams_per_connection\"}"), 2);
  engine_->End(1, {});
  engine_->WaitForRequest(2);  // the third has come
  engine_->End(2, {});
  engine_->End(3, {});
  for (std::thread& client : clients) client.join();
}

TEST_F(SecurityTest, MetadataIsBounded) {
  Start();
  const auto call = [&](size_t bytes) {
    grpc::ClientContext context;
    context.AddMetadata("x-large", std::string(bytes, 'x'));
    v1::CompleteResponse response;
    return NewStub()->Complete(&context, TextRequest(), &response).error_code();
  };
  EXPECT_EQ(call(12 << 10), grpc::StatusCode::OK);
  EXPECT_EQ(call(20 << 10), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_limit{limit=\"max_metadata_bytes\"}"), 16384);
}

TEST_F(SecurityTest, WhoPingsTooOftenIsSentAway) {
  Start();
  HttpClient client(server_->grpc_address());
  const std::string settings("\0\0\0\x04\0\0\0\0\0", 9);
  const std::string ping("\0\0\x08\x06\0\0\0\0\0eight by", 17);
  client.Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings);
  for (int i = 0; i < 10; ++i) client.Send(ping);
  EXPECT_TRUE(client.WaitUntilClosed(/*discard=*/true));
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_limit{limit=\"min_ping_interval\"}"), 10);
}

}  // namespace
}  // namespace recurve
