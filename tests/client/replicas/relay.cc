// SPDX-License-Identifier: Apache-2.0
#include "tests/client/replicas/relay.h"

#include <chrono>
#include <map>
#include <span>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"

namespace recurve::client {

namespace {

// Lets the messages before go out, so that most have one token.
class PacedSink final : public RequestSink {
 public:
  explicit PacedSink(std::shared_ptr<RequestSink> sink) : sink_(std::move(sink)) {}

  void OnPromptLogprobs(uint32_t sample, std::vector<recurve::PositionLogprobs> all) override {
    sink_->OnPromptLogprobs(sample, std::move(all));
  }
  absl::Status OnPrepared(uint32_t prompt_tokens, uint32_t new_tokens) override {
    return sink_->OnPrepared(prompt_tokens, new_tokens);
  }
  void OnStarted(uint32_t sample) override { sink_->OnStarted(sample); }
  void OnTokens(uint32_t sample, std::span<const TokenEvent> tokens, uint32_t generated) override {
    sink_->OnTokens(sample, tokens, generated);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  void OnFinished(uint32_t sample, Finish finish) override {
    sink_->OnFinished(sample, std::move(finish));
  }

 private:
  const std::shared_ptr<RequestSink> sink_;
};

class PacedEngine final : public Engine {
 public:
  explicit PacedEngine(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}

  absl::StatusOr<Accepted> Start(Request request, std::shared_ptr<RequestSink> sink) override {
    return engine_->Start(std::move(request), std::make_shared<PacedSink>(std::move(sink)));
  }
  void Cancel(SampleId id) override { engine_->Cancel(id); }
  void Drain(SteadyTime until) override { engine_->Drain(until); }
  absl::Status WaitForFailure() override { return engine_->WaitForFailure(); }
  void StopWaiting() override { engine_->StopWaiting(); }
  EngineSnapshot Snapshot() const override { return engine_->Snapshot(); }
  const EngineInfo& Info() const override { return engine_->Info(); }
  absl::StatusOr<std::vector<TokenId>> Tokenize(std::string_view text,
                                                bool add_special_tokens) const override {
    return engine_->Tokenize(text, add_special_tokens);
  }
  absl::StatusOr<std::string> Detokenize(const std::vector<TokenId>& ids,
                                         bool skip_special_tokens) const override {
    return engine_->Detokenize(ids, skip_special_tokens);
  }
  std::string TokenText(TokenId id) const override { return engine_->TokenText(id); }

 private:
  const std::unique_ptr<Engine> engine_;
};

}  // namespace

RealServer::RealServer(const EngineOptions& engine_options) {
  ServerOptions options;
  options.engine = engine_options;
  options.listen.listen.port = 0;
  options.listen.metrics_listen.port = 0;
  options.engine.model.directory = RECURVE_SOURCE_DIR "/models/demo";
  options.engine.model.threads = 1;
  options.engine.schedule.default_max_tokens = 10;
  auto engine = Engine::Create(options.engine);
  RECURVE_CHECK(engine.ok());
  engine_ = std::make_unique<PacedEngine>(*std::move(engine));
  log_ = std::make_unique<Log>(options.log.format, fileno(log_file_));
  auto server = Server::Create(options, log_.get());
  RECURVE_CHECK(server.ok());
  server_ = *std::move(server);
  server_->SetEngine(engine_.get());
  server_->SetServing(true);
}

RealServer::~RealServer() {
  server_->Shutdown(std::chrono::steady_clock::now());
  engine_.reset();
  server_.reset();
  log_.reset();
  std::fclose(log_file_);
}

void Script::Add(const Fate& fate) {
  const std::lock_guard lock(mutex_);
  fates_.push_back(fate);
}

Fate Script::Take(const std::string& relay, const v1::GenerateRequest& request) {
  const std::lock_guard lock(mutex_);
  requests_.push_back(request);
  relays_.push_back(relay);
  if (fates_.empty()) return {};
  const Fate fate = fates_.front();
  fates_.pop_front();
  return fate;
}

std::vector<v1::GenerateRequest> Script::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::vector<std::string> Script::relays() const {
  const std::lock_guard lock(mutex_);
  return relays_;
}

Relay::Relay(const std::string& target, Script* script)
    : target_(v1::GenerationService::NewStub(
          grpc::CreateChannel(target, grpc::InsecureChannelCredentials()))),
      script_(script) {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  address_ = absl::StrCat("127.0.0.1:", port);
}

std::string Relay::prefix_header() const {
  const std::lock_guard lock(mutex_);
  return prefix_header_;
}

void Relay::Tell(const grpc::ClientContext& from, grpc::ServerContext* to) const {
  const auto& metadata = from.GetServerInitialMetadata();
  const auto own = metadata.find("x-recurve-fingerprint");
  if (own == metadata.end()) return;
  to->AddInitialMetadata(
      "x-recurve-fingerprint",
      fingerprint_.empty() ? std::string(own->second.data(), own->second.size()) : fingerprint_);
}

grpc::Status Relay::Refusal(const Fate& fate, grpc::ServerContext* context) const {
  if (fate.kind == Fate::Kind::kRefuse) return {grpc::StatusCode::UNAVAILABLE, "not ready"};
  context->AddTrailingMetadata("grpc-retry-pushback-ms", fate.pushback);
  return {grpc::StatusCode::RESOURCE_EXHAUSTED, "full"};
}

grpc::Status Relay::Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                             grpc::ServerWriter<v1::GenerateResponse>* writer) {
  {
    const auto& metadata = context->client_metadata();
    const auto header = metadata.find("x-recurve-prefix");
    const std::lock_guard lock(mutex_);
    prefix_header_ =
        header == metadata.end() ? "" : std::string(header->second.data(), header->second.size());
  }
  const Fate fate = script_->Take(address_, *request);
  if (fate.kind == Fate::Kind::kRefuse || fate.kind == Fate::Kind::kFull) {
    return Refusal(fate, context);
  }
  grpc::ClientContext onward;
  const auto reader = target_->Generate(&onward, *request);
  v1::GenerateResponse message;
  std::map<uint32_t, v1::GenerateResponse> open;  // the last message of samples that run
  for (uint32_t i = 0; i < (request->has_samples() ? request->samples() : 1); ++i) {
    open[i].set_sample(i);
  }
  const bool cuts = fate.kind == Fate::Kind::kBreak || fate.kind == Fate::Kind::kDrain;
  for (int messages = 0; !cuts || messages < fate.messages; ++messages) {
    if (!reader->Read(&message)) return reader->Finish();
    if (messages == 0) Tell(onward, context);
    if (fate.kind == Fate::Kind::kAlter) {
      for (v1::Token& token : *message.mutable_tokens()) token.set_id(token.id() ^ 1);
    }
    writer->Write(message);
    for (auto& [sample, end] : open) {
      end.mutable_usage()->set_prompt_tokens(message.usage().prompt_tokens());
    }
    *open[message.sample()].mutable_usage() = message.usage();
    if (message.has_final()) open.erase(message.sample());
  }
  if (fate.kind == Fate::Kind::kDrain && fate.messages == 0) {
    reader->Read(&message);  // what a server's end says is the same
    Tell(onward, context);
    for (auto& [sample, end] : open) {
      end.mutable_usage()->set_prompt_tokens(message.usage().prompt_tokens());
    }
  }
  onward.TryCancel();
  while (reader->Read(&message)) continue;
  reader->Finish();
  if (fate.kind == Fate::Kind::kBreak) return {grpc::StatusCode::UNAVAILABLE, "broken"};
  for (auto& [sample, end] : open) {
    end.mutable_final()->set_finish_reason(v1::FINISH_REASON_DRAINED);
    end.mutable_final()->set_preemptions(1);
    writer->Write(end);
  }
  return grpc::Status::OK;
}

grpc::Status Relay::Complete(grpc::ServerContext* context, const v1::GenerateRequest* request,
                             v1::CompleteResponse* response) {
  const Fate fate = script_->Take(address_, *request);
  if (fate.kind != Fate::Kind::kPass) return Refusal(fate, context);
  grpc::ClientContext onward;
  return target_->Complete(&onward, *request, response);
}

grpc::Status Relay::Tokenize(grpc::ServerContext* context, const v1::TokenizeRequest* request,
                             v1::TokenizeResponse* response) {
  grpc::ClientContext onward;
  const grpc::Status status = target_->Tokenize(&onward, *request, response);
  Tell(onward, context);
  return status;
}

}  // namespace recurve::client
