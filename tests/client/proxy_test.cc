// SPDX-License-Identifier: Apache-2.0
// Calls with a proxy in the environment, which counts the connections that come to it.
#include <grpcpp/grpcpp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/cli/report.h"
#include "client/client.h"
#include "gmock/gmock.h"
#include "recurve/v1/generation.grpc.pb.h"
#include "tests/client/scoped_environment.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;
using testing::Not;

// Accepts connections and closes them at once.
class FakeProxy {
 public:
  FakeProxy() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const pointer = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(socket_, pointer, size), 0);
    EXPECT_EQ(listen(socket_, 16), 0);
    EXPECT_EQ(getsockname(socket_, pointer, &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (int connection; (connection = accept(socket_, nullptr, nullptr)) >= 0;) {
        ++connections_;
        close(connection);
      }
    });
  }
  ~FakeProxy() {
    shutdown(socket_, SHUT_RDWR);
    thread_.join();
    close(socket_);
  }

  std::string url() const { return absl::StrCat("http://127.0.0.1:", port_); }
  int connections() const { return connections_; }

 private:
  const int socket_;
  int port_ = 0;
  std::atomic<int> connections_ = 0;
  std::thread thread_;
};

class ProxyTest : public testing::Test {
 protected:
  static absl::Status Ask(const std::string& server) {
    ClientOptions options;
    options.servers = {server};
    return Client(options).GetLoad({}).status();
  }

  const ScopedEnvironment environment_{
      {"grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"}};
  const FakeProxy proxy_;
};

TEST_F(ProxyTest, CallsToThisMachineGoThere) {
  v1::GenerationService::Service service;  // answers UNIMPLEMENTED
  grpc::ServerBuilder builder;
  int port = 0;
  const std::string socket_path = absl::StrCat(testing::TempDir(), "/recurve-proxy-", getpid());
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.AddListeningPort(absl::StrCat("unix:", socket_path), grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  for (const char* variable : {"http_proxy", "https_proxy", "grpc_proxy"}) {
    environment_.Set(variable, proxy_.url());
    for (const std::string& name :
         {absl::StrCat("127.0.0.1:", port), absl::StrCat("localhost:", port),
          absl::StrCat("ipv4:127.0.0.1:", port), absl::StrCat("unix:", socket_path)}) {
      const absl::Status status = Ask(name);
      EXPECT_TRUE(absl::IsUnimplemented(status)) << variable << ", " << name << ": " << status;
    }
  }
  EXPECT_EQ(proxy_.connections(), 0);
}

TEST_F(ProxyTest, OtherCallsGoThroughTheProxyAndItsVariableIsNamed) {
  environment_.Set("http_proxy", proxy_.url());
  const absl::Status status = Ask("recurve.invalid:50051");
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_GT(proxy_.connections(), 0);
  testing::internal::CaptureStderr();
  ReportError("recurve.invalid:50051", status);
  ReportError("127.0.0.1:1", status);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("through the proxy of the environment variable http_proxy"));
  EXPECT_THAT(said.substr(said.find("127.0.0.1:1")), Not(HasSubstr("proxy")));
}

}  // namespace
}  // namespace recurve::client
