// SPDX-License-Identifier: Apache-2.0
// A server in this process around a fake engine, and clients for it over loopback.
#ifndef RECURVE_TESTS_SERVER_SERVER_FIXTURE_H_
#define RECURVE_TESTS_SERVER_SERVER_FIXTURE_H_

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "recurve/v1/generation.grpc.pb.h"
#include "server/server.h"
#include "tests/server/fake_engine.h"
#include "tests/server/http_client.h"

namespace recurve {

// Options that listen on ports of the system's choice.
ServerOptions TestOptions();

// Value of a series on a metrics page, such as `a_total{b="c"}`; nothing if it is not there.
std::optional<double> MetricValue(const std::string& page, const std::string& series);

// The value of `key`; empty if it is not there.
std::string MetadataValue(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata,
                          const std::string& key);

// What grpc.health.v1.Health says of the service: its status, or the gRPC code's negative if the
// call failed.
int Health(const std::shared_ptr<grpc::Channel>& channel, const std::string& service);

// Everything a stream brought.
struct StreamEnd {
  std::vector<v1::GenerateResponse> messages;
  grpc::Status status;
  std::string text() const;
};

class ServerTest : public testing::Test {
 protected:
  ~ServerTest() override;

  // Starts the server around `engine_`, ready unless told otherwise.
  void Start(bool ready = true);
  // Shuts down, engine before server as in a process; then the log is complete.
  void Stop();

  std::shared_ptr<grpc::Channel> NewChannel(const grpc::ChannelArguments& arguments = {});
  std::unique_ptr<v1::GenerationService::Stub> NewStub() {
    return v1::GenerationService::NewStub(NewChannel());
  }
  StreamEnd Generate(const v1::GenerateRequest& request, grpc::ClientContext* context = nullptr);
  std::string MetricsPage() { return HttpGet(server_->metrics_address(), "/metrics").body; }
  // Lines of the log; after Stop.
  std::vector<std::string> LogLines();

  ServerOptions options_ = TestOptions();
  Acceptor::Seams seams_;
  std::unique_ptr<FakeEngine> engine_ = std::make_unique<FakeEngine>();
  std::FILE* const log_file_ = std::tmpfile();
  std::unique_ptr<Log> log_;
  std::unique_ptr<Server> server_;
};

// A request with a text prompt.
v1::GenerateRequest TextRequest(const std::string& text = "hello");

// Reads the rest of a stream.
StreamEnd ReadAll(grpc::ClientReader<v1::GenerateResponse>* reader);

}  // namespace recurve

#endif  // RECURVE_TESTS_SERVER_SERVER_FIXTURE_H_
