// SPDX-License-Identifier: Apache-2.0
#include "tests/server/server_fixture.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace recurve {

ServerOptions TestOptions() {
  ServerOptions options;
  options.listen.listen.port = 0;
  options.listen.metrics_listen.port = 0;
  return options;
}

std::optional<double> MetricValue(const std::string& page, const std::string& series) {
  const std::vector<std::string> lines = absl::StrSplit(page, '\n');
  for (const std::string& line : lines) {
    double value = 0;
    if (line.rfind(series + " ", 0) == 0 &&
        absl::SimpleAtod(line.substr(series.size() + 1), &value)) {
      return value;
    }
  }
  return std::nullopt;
}

std::string StreamEnd::text() const {
  std::string text;
  for (const auto& message : messages) text += message.text();
  return text;
}

ServerTest::~ServerTest() {
  Stop();
  log_.reset();
  std::fclose(log_file_);
}

void ServerTest::Start(bool ready) {
  log_ = std::make_unique<Log>(options_.log.format, fileno(log_file_));
  auto server = Server::Create(options_, log_.get(), seams_);
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  if (ready) {
    server_->SetEngine(engine_.get());
    server_->SetServing(true);
  }
}

void ServerTest::Stop() {
  if (server_) server_->Shutdown(std::chrono::steady_clock::now());
  engine_.reset();
  server_.reset();
}

std::shared_ptr<grpc::Channel> ServerTest::NewChannel(const grpc::ChannelArguments& arguments) {
  grpc::ChannelArguments own = arguments;
  own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  return grpc::CreateCustomChannel(server_->grpc_address().ToString(),
                                   grpc::InsecureChannelCredentials(), own);
}

StreamEnd ServerTest::Generate(const v1::GenerateRequest& request, grpc::ClientContext* context) {
  grpc::ClientContext own;
  const auto stub = NewStub();
  const auto reader = stub->Generate(context != nullptr ? context : &own, request);
  return ReadAll(reader.get());
}

std::vector<std::string> ServerTest::LogLines() {
  log_->Flush();
  std::string text;
  std::fseek(log_file_, 0, SEEK_SET);
  char buffer[4096];
  for (size_t n = 0; (n = std::fread(buffer, 1, sizeof(buffer), log_file_)) > 0;) {
    text.append(buffer, n);
  }
  return absl::StrSplit(text, '\n', absl::SkipEmpty());
}

std::string MetadataValue(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata,
                          const std::string& key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : std::string(found->second.data(), found->second.size());
}

int Health(const std::shared_ptr<grpc::Channel>& channel, const std::string& service) {
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status =
      grpc::health::v1::Health::NewStub(channel)->Check(&context, request, &response);
  return status.ok() ? static_cast<int>(response.status()) : -status.error_code();
}

v1::GenerateRequest TextRequest(const std::string& text) {
  v1::GenerateRequest request;
  request.set_text(text);
  return request;
}

StreamEnd ReadAll(grpc::ClientReader<v1::GenerateResponse>* reader) {
  StreamEnd end;
  v1::GenerateResponse message;
  while (reader->Read(&message)) end.messages.push_back(message);
  end.status = reader->Finish();
  return end;
}

}  // namespace recurve
