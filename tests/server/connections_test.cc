// SPDX-License-Identifier: Apache-2.0
// Connections to a whole server: their bound, and that a server which does not answer new ones
// knows it and says so over those that it has.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/grpc/health_service.h"
#include "server/net/descriptors.h"
#include "tests/scoped_directory.h"
#include "tests/server/http_client.h"
#include "tests/server/server_fixture.h"
#include "tests/server/sockets.h"

namespace recurve {
namespace {

using ::grpc::health::v1::Health;
using ::grpc::health::v1::HealthCheckRequest;
using ::grpc::health::v1::HealthCheckResponse;
using testing::HasSubstr;

// Accepts as the system does, counts, and can be made to hang.
class Gate {
 public:
  Acceptor::Seams Seams() {
    Acceptor::Seams seams;
    seams.accept = [this](int listener, sockaddr* address, socklen_t* size) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return open_; });
      const int connection = accept4(listener, address, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (connection >= 0) ++accepted_;
      changed_.notify_all();
      return connection;
    };
    return seams;
  }
  void Set(bool open) {
    const std::lock_guard lock(mutex_);
    open_ = open;
    changed_.notify_all();
  }
  // Waits until so many more connections were accepted.
  void WaitForMore(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this, wanted = accepted_ + count] { return accepted_ >= wanted; });
  }

 private:
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool open_ = true;
  int accepted_ = 0;
};

// One Watch call.
class HealthWatch {
 public:
  HealthWatch(const std::shared_ptr<grpc::Channel>& channel, const std::string& service)
      : stub_(Health::NewStub(channel)) {
    HealthCheckRequest request;
    request.set_service(service);
    reader_ = stub_->Watch(&context_, request);
  }
  ~HealthWatch() {
    context_.TryCancel();
    reader_->Finish();
  }
  // Waits for that status; false if the call ends before.
  bool WaitFor(HealthCheckResponse::ServingStatus status) {
    HealthCheckResponse response;
    while (reader_->Read(&response)) {
      if (response.status() == status) return true;
    }
    return false;
  }

 private:
  const std::unique_ptr<Health::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> reader_;
};

class ConnectionsTest : public ServerTest {
 protected:
  ConnectionsTest() { seams_ = gate_.Seams(); }
  ~ConnectionsTest() override {
    gate_.Set(true);
    Stop();
  }

  // The server asks itself all the time, and gives up soon.
  void CheckOften() { options_.self_check = {Milliseconds(10), Milliseconds(100)}; }

  // Until both say so, over `channel`.
  static void WaitForHealth(HealthWatch* readiness, HealthWatch* liveness,
                            HealthCheckResponse::ServingStatus status) {
    ASSERT_TRUE(readiness->WaitFor(status));
    ASSERT_TRUE(liveness->WaitFor(status));
  }

  static grpc::Status Call(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    HealthCheckResponse response;
    return Health::NewStub(channel)->Check(&context, {}, &response);
  }

  // The socket that this process listens on at the server's port.
  int ListeningSocket() {
    for (int descriptor = 3; descriptor < 1024; ++descriptor) {
      int listens = 0;
      socklen_t size = sizeof(listens);
      if (getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0) continue;
      const SocketAddress address = AddressOf(descriptor);
      const auto& v4 = reinterpret_cast<const sockaddr_in&>(address.storage);
      if (listens != 0 && ntohs(v4.sin_port) == server_->grpc_address().port) return descriptor;
    }
    return -1;
  }

  Gate gate_;
};

TEST_F(ConnectionsTest, BeyondTheBoundAreClosedAndServedWhenThereIsRoom) {
  options_.listen.max_connections = 2;
  Start();
  auto first = NewChannel();
  const auto second = NewChannel();
  EXPECT_TRUE(Call(first).ok());
  EXPECT_TRUE(Call(second).ok());
  const auto third = NewChannel();
  EXPECT_EQ(Call(third).error_code(), grpc::StatusCode::UNAVAILABLE);
  std::string page = MetricsPage();
  EXPECT_EQ(MetricValue(page, "recurve_connections_open"), 2.0);
  EXPECT_GE(*MetricValue(page, "recurve_connections_refused_total{reason=\"max_connections\"}"),
            1.0);
  EXPECT_EQ(MetricValue(page, "recurve_connections_refused_total{reason=\"descriptors\"}"), 0.0);
  EXPECT_EQ(MetricValue(page, "recurve_limit{limit=\"max_connections\"}"), 2.0);
  EXPECT_EQ(MetricValue(page, "recurve_ready"), 1.0);
  first.reset();
  while (!Call(NewChannel()).ok()) std::this_thread::yield();
  EXPECT_TRUE(Call(second).ok());
  Stop();
  EXPECT_THAT(absl::StrCat(LogLines().front()), HasSubstr(" connections_refused count="));
}

TEST_F(ConnectionsTest, AServerThatIsFullStillAnswersItself) {
  options_.listen.max_connections = 1;
  options_.self_check.interval = Milliseconds(1);
  Start();
  const auto channel = NewChannel();
  EXPECT_TRUE(Call(channel).ok());
  gate_.WaitForMore(5);
  const std::string page = MetricsPage();
  EXPECT_EQ(MetricValue(page, "recurve_connections_open"), 1.0);
  EXPECT_EQ(MetricValue(page, "recurve_connections_refused_total{reason=\"max_connections\"}"),
            0.0);
  EXPECT_EQ(MetricValue(page, "recurve_self_check_failures_total"), 0.0);
  EXPECT_EQ(MetricValue(page, "recurve_live"), 1.0);
  EXPECT_THAT(page, testing::Not(HasSubstr("recurve_requests_total{")));
}

TEST_F(ConnectionsTest, EveryKindOfAddressAnswersItself) {
  const ScopedDirectory directory;
  std::vector<std::string> addresses = {"0.0.0.0:0", "localhost:0", "[::]:0",
                                        absl::StrCat("unix:", directory.path(), "/socket")};
  if (ListenOn(AF_INET6).valid()) addresses.emplace_back("[::1]:0");
  options_.self_check.interval = Milliseconds(1);
  for (const std::string& address : addresses) {
    options_.listen.listen = *ParseAddress(address);
    Start();
    gate_.WaitForMore(3);
    EXPECT_EQ(MetricValue(MetricsPage(), "recurve_self_check_failures_total"), 0.0) << address;
    Stop();
    engine_ = std::make_unique<FakeEngine>();
  }
}

TEST_F(ConnectionsTest, AnAcceptThatHangsIsSeenAndSaidAndForgotten) {
  CheckOften();
  Start();
  const auto channel = NewChannel();
  HealthWatch readiness(channel, ""), liveness(channel, kLivenessName);
  WaitForHealth(&readiness, &liveness, HealthCheckResponse::SERVING);
  gate_.Set(false);
  WaitForHealth(&readiness, &liveness, HealthCheckResponse::NOT_SERVING);
  const std::string page = MetricsPage();
  EXPECT_EQ(MetricValue(page, "recurve_ready"), 0.0);
  EXPECT_EQ(MetricValue(page, "recurve_live"), 0.0);
  EXPECT_GE(*MetricValue(page, "recurve_self_check_failures_total"), 2.0);
  gate_.Set(true);
  WaitForHealth(&readiness, &liveness, HealthCheckResponse::SERVING);
  EXPECT_TRUE(Call(NewChannel()).ok());
  Stop();
  const std::vector<std::string> lines = LogLines();
  EXPECT_THAT(lines, testing::Contains(HasSubstr(" deaf seconds=")));
  EXPECT_THAT(lines, testing::Contains(HasSubstr(" self_check_answered after_seconds=")));
}

TEST_F(ConnectionsTest, ASocketThatListensNoMoreIsSeen) {
  CheckOften();
  Start();
  const auto channel = NewChannel();
  HealthWatch readiness(channel, ""), liveness(channel, kLivenessName);
  WaitForHealth(&readiness, &liveness, HealthCheckResponse::SERVING);
  ASSERT_EQ(shutdown(ListeningSocket(), SHUT_RDWR), 0);
  WaitForHealth(&readiness, &liveness, HealthCheckResponse::NOT_SERVING);
  Stop();
  const std::vector<std::string> lines = LogLines();
  EXPECT_THAT(lines, testing::Contains(HasSubstr(" accept_failed error=")));
  EXPECT_THAT(lines, testing::Contains(HasSubstr("cannot connect: ")));
}

TEST_F(ConnectionsTest, AnotherServerInOurPlaceIsNoAnswer) {
  const ScopedDirectory directory;
  const std::string path = directory.path() + "/socket";
  options_.listen.listen = *ParseAddress("unix:" + path);
  CheckOften();
  Start();
  const auto channel = grpc::CreateChannel("unix:" + path, grpc::InsecureChannelCredentials());
  HealthWatch readiness(channel, ""), liveness(channel, kLivenessName);
  WaitForHealth(&readiness, &liveness, HealthCheckResponse::SERVING);
  ASSERT_EQ(unlink(path.c_str()), 0);
  auto other = Server::Create(options_, log_.get());
  ASSERT_TRUE(other.ok()) << other.status();
  WaitForHealth(&readiness, &liveness, HealthCheckResponse::NOT_SERVING);
  Stop();
  other->reset();
  EXPECT_THAT(LogLines(), testing::Contains(HasSubstr("another process answers at this address")));
}

TEST_F(ConnectionsTest, ShutdownWhileClientsComeLeavesNoDescriptorOpen) {
  options_.self_check.interval = Milliseconds(1);
  uint64_t before = 0;
  for (int round = 0; round < 5; ++round) {
    Start();
    std::atomic<bool> stopped = false;
    std::thread clients([&, address = server_->grpc_address()] {
      while (!stopped) const HttpClient connection(address);
    });
    gate_.WaitForMore(50);
    EXPECT_TRUE(Call(NewChannel()).ok());
    Stop();
    stopped = true;
    clients.join();
    engine_ = std::make_unique<FakeEngine>();
    // The gRPC library opens some for good, and closes the last of its own a little later.
    if (round == 0) continue;
    if (round == 1) before = OpenDescriptors();
    while (OpenDescriptors() > before) std::this_thread::yield();
  }
}

// CANCELLED is for clients that left.
TEST_F(ConnectionsTest, CallsThatComeAtTheEndAreUnavailable) {
  for (int round = 0; round < 20; ++round) {
    Start();
    std::atomic<int> made = 0;
    std::atomic<bool> stopped = false;
    std::vector<std::thread> clients;
    for (int i = 0; i < 4; ++i) {
      clients.emplace_back([&, channel = NewChannel()] {
        const auto stub = v1::GenerationService::NewStub(channel);
        while (!stopped) {
          grpc::ClientContext context;
          v1::GetModelInfoResponse response;
          const grpc::Status status = stub->GetModelInfo(&context, {}, &response);
          EXPECT_TRUE(status.ok() || status.error_code() == grpc::StatusCode::UNAVAILABLE)
              << status.error_code() << ": " << status.error_message();
          ++made;
        }
      });
    }
    while (made < 100) std::this_thread::yield();
    Stop();
    stopped = true;
    for (std::thread& client : clients) client.join();
    engine_ = std::make_unique<FakeEngine>();
  }
}

TEST_F(ConnectionsTest, TooManyForTheDescriptorsAreRefusedAtStart) {
  options_.listen.max_connections = 1 << 31;
  const auto server = Server::Create(options_, nullptr);
  EXPECT_EQ(server.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(server.status().message(), HasSubstr("--max_connections=2147483648: "));
}

}  // namespace
}  // namespace recurve
