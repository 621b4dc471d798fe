// SPDX-License-Identifier: Apache-2.0
// A real server with the bundled model in this process, and relays in front of it that refuse and
// break calls as a script says: what clients see of replicas that come and go.
#ifndef RECURVE_TESTS_CLIENT_REPLICAS_RELAY_H_
#define RECURVE_TESTS_CLIENT_REPLICAS_RELAY_H_

#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/api/options.h"
#include "engine/engine.h"
#include "recurve/v1/generation.grpc.pb.h"
#include "server/observe/log.h"
#include "server/server.h"

namespace recurve::client {

class RealServer {
 public:
  explicit RealServer(const EngineOptions& engine = {});
  ~RealServer();

  std::string address() const { return server_->grpc_address().ToString(); }

 private:
  std::FILE* const log_file_ = std::tmpfile();
  std::unique_ptr<Log> log_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Server> server_;
};

// What becomes of one call of Generate or Complete.
struct Fate {
  enum class Kind {
    kPass,
    kRefuse,  // UNAVAILABLE at once
    kFull,    // RESOURCE_EXHAUSTED at once, with `pushback`
    kBreak,   // UNAVAILABLE after so many messages
    kDrain,   // after so many messages each sample ends DRAINED
    kAlter,   // passes, with another token in each message
  };
  Kind kind = Kind::kPass;
  int messages = 0;
  std::string pushback{};
};

// The fates of the calls of all relays, in the order in which they come; then all pass.
class Script {
 public:
  void Add(const Fate& fate);
  Fate Take(const std::string& relay, const v1::GenerateRequest& request);

  std::vector<v1::GenerateRequest> requests() const;
  std::vector<std::string> relays() const;  // that had the requests

 private:
  mutable std::mutex mutex_;
  std::deque<Fate> fates_;
  std::vector<v1::GenerateRequest> requests_;
  std::vector<std::string> relays_;
};

class Relay final : public v1::GenerationService::Service {
 public:
  Relay(const std::string& target, Script* script);

  // Told instead of the server's; before the first call.
  void set_fingerprint(const std::string& fingerprint) { fingerprint_ = fingerprint; }

  const std::string& address() const { return address_; }
  std::string prefix_header() const;  // of the last call

  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override;
  grpc::Status Complete(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        v1::CompleteResponse* response) override;
  grpc::Status Tokenize(grpc::ServerContext* context, const v1::TokenizeRequest* request,
                        v1::TokenizeResponse* response) override;

 private:
  grpc::Status Refusal(const Fate& fate, grpc::ServerContext* context) const;
  void Tell(const grpc::ClientContext& from, grpc::ServerContext* to) const;

  const std::unique_ptr<v1::GenerationService::Stub> target_;
  Script* const script_;
  std::string fingerprint_;
  mutable std::mutex mutex_;
  std::string prefix_header_;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;  // last: it calls the others
};

}  // namespace recurve::client

#endif  // RECURVE_TESTS_CLIENT_REPLICAS_RELAY_H_
