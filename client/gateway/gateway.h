// SPDX-License-Identifier: Apache-2.0
// OpenAI's HTTP API over Recurve's: which path leads where, and what each does.
#ifndef RECURVE_CLIENT_GATEWAY_GATEWAY_H_
#define RECURVE_CLIENT_GATEWAY_GATEWAY_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "client/client.h"
#include "client/gateway/answer.h"
#include "client/gateway/call.h"
#include "client/gateway/chat_renderer.h"
#include "client/gateway/generation.h"
#include "client/gateway/model_watch.h"
#include "client/gateway/workers.h"
#include "server/net/http_server.h"

namespace recurve::gateway {

// Thread-safe. Answers calls on its workers and on the threads of the client library.
class Gateway final : private Call::Observer {
 public:
  struct Parts {
    client::Client* client;
    ModelWatch* models;
    ChatRenderer* renderer;
    Workers* workers;
    Workers* lookers;     // for questions how busy servers are
    bool resume = false;  // streams that break, see CallOptions
    // A server whether it knows the caller, before anything is done for one.
    bool ask_first = false;
    bool page = false;  // see page.h
    // Hears of each call that has ended, on any thread.
    std::function<void(const CallEnd&)> on_end;
  };

  // All of `parts` outlive it.
  explicit Gateway(Parts parts);
  // Waits until all calls have ended; CancelAll has them do so soon.
  ~Gateway() override;

  // Answers at once or later; for HttpServer.
  void Handle(HttpRequest request, std::shared_ptr<HttpResponseWriter> writer);

  size_t open_calls() const;
  // Whether calls are welcome: a server takes them, and the gateway goes on.
  bool ready() const { return parts_.models->ready() && !stopping_; }
  void SetStopping() { stopping_ = true; }
  // Ends the calls that generate, as if their clients had gone.
  void CancelAll();

 private:
  using CallPointer = std::shared_ptr<Call>;
  struct Endpoint {
    const char* method;
    enum { kAtOnce, kBlocks, kLooks } way;
    void (Gateway::*answer)(const CallPointer& call);
  };
  static const std::map<std::string, Endpoint, std::less<>>& Endpoints();
  const Endpoint* Find(const std::string& path) const;

  void OnCall() override;
  void OnEnd(const CallEnd& end) override;

  void Complete(const CallPointer& call);
  void Chat(const CallPointer& call);
  void ListModels(const CallPointer& call);
  void TellModel(const CallPointer& call);
  void Tokenize(const CallPointer& call);
  void Detokenize(const CallPointer& call);
  void TellTokenizer(const CallPointer& call);
  void Health(const CallPointer& call);
  void Liveness(const CallPointer& call);
  void TellEngine(const CallPointer& call);
  void ShowPage(const CallPointer& call);

  // Unauthenticated, with the server's words, if servers ask for tokens and do not take the call's.
  absl::Status CheckCaller(const Call& call) const;
  // The model, if `name` is its name or empty.
  absl::StatusOr<std::shared_ptr<const ModelInfo>> FindModel(const std::string& name) const;
  // Fills in the prompts of `requests` and what is to come again of them.
  absl::StatusOr<std::vector<PromptEcho>> Prepare(const CompletionTerms& terms, const Call& call,
                                                  std::vector<v1::GenerateRequest>* requests);
  absl::StatusOr<PromptEcho> Echo(const Prompt& prompt, const Call& call,
                                  v1::GenerateRequest* request);
  client::CallOptions Patient(const Call& call) const;
  void Generate(const CallPointer& call, const Terms& terms,
                const std::vector<v1::GenerateRequest>& requests, std::unique_ptr<Answer> answer);
  void Remember(const std::shared_ptr<Generation>& generation);

  const Parts parts_;
  std::atomic<bool> stopping_ = false;
  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  size_t open_calls_ ABSL_GUARDED_BY(mutex_) = 0;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  // Those that run, and some that have ended.
  std::vector<std::weak_ptr<Generation>> generations_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_GATEWAY_H_
