// SPDX-License-Identifier: Apache-2.0
// The C++ client of Recurve servers: calls that block, and streams that call back, each at one of
// several replicas. docs/replicas.md says what is tried again, and what goes on.
#ifndef RECURVE_CLIENT_CLIENT_H_
#define RECURVE_CLIENT_CLIENT_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/channel_credentials.h"
#include "client/replica_set.h"
#include "recurve/v1/generation.pb.h"

namespace recurve::client {

struct ClientOptions {
  // Replicas: HOST:PORT, or any name that gRPC resolves; `dns:///HOST:PORT` stands for all
  // addresses of the name. At least one. A server on this machine is always called directly; on the
  // way to others gRPC uses the proxy that grpc_proxy, https_proxy or http_proxy name.
  std::vector<std::string> servers = {"127.0.0.1:50051"};
  Balance balance = Balance::kLeastOutstanding;
  // Calls that a server refuses because a queue is full or because it is not ready, and those of
  // which nothing had come when it was lost, are tried again, at most this often in all (1: never
  // again): at another server, or after the time that the servers ask for. Streams that
  // CallOptions::resume has go on count in the same way.
  int attempts = 1;
  // Tries beyond the first ones of calls that servers did not ask for, while no call ends well; a
  // call that does gives back a fifth of one.
  uint32_t retry_budget = 100;
  // Of a prompt's beginning, that decides where it goes with Balance::kPrefixAffinity and is sent
  // as metadata x-recurve-prefix.
  uint32_t prefix_tokens = 64;
  Credentials credentials;  // that pass CheckCredentials
};

inline constexpr size_t kMaxRequestIdBytes = 128;  // the server takes no longer ones

// What became of a call, beside its answer.
struct CallReport {
  int tries = 0;            // at any server, those that resumed a stream included
  int resumes = 0;          // of samples that went on at another server
  std::string last_server;  // of the last try
};

struct CallOptions {
  std::optional<std::chrono::milliseconds> timeout;  // sent to the server as the call's deadline
  // Metadata x-request-id, printable ASCII of at most kMaxRequestIdBytes: a call with another one
  // ends with InvalidArgument and is not sent. Empty: the server makes one.
  std::string request_id;
  // Streams that break after their first message, or that a server's end cuts short, go on at
  // another server (or the same one, when it is back) with the fingerprint of the first, as if
  // nothing had happened. Needs ClientOptions::attempts above 1.
  bool resume = false;
  // Further metadata, as somebody passes on what it was told: names of lower-case letters, digits,
  // and `_`, `-`, `.`; values of printable ASCII. A call with others, or with a name that is gRPC's
  // (`grpc-...`) or of binary values (`...-bin`), ends with InvalidArgument and is not sent.
  std::vector<std::pair<std::string, std::string>> metadata{};
  // Written before the call returns, or before `on_end`. May be null.
  CallReport* report = nullptr;
};

// A running stream. Destroying it cancels it and waits for its end.
class Stream {
 public:
  virtual ~Stream() = default;
  // Ends the stream with Cancelled, soon. Thread-safe; no effect on an ended stream.
  virtual void Cancel() = 0;
};

// A message's way back: the next one of its leg is read when this one is done with.
class MessageReader {
 public:
  virtual ~MessageReader() = default;
  // Once a message; `message` is then no longer valid.
  virtual void Done() = 0;
};

// Payload of a ResourceExhausted status: after how many milliseconds the server, which was full,
// wants to be asked again. Without it the message itself was too large.
inline constexpr char kRetryPushbackPayload[] = "recurve/grpc-retry-pushback-ms";

// Payload of an Unavailable status: no server was reached.
inline constexpr char kNotReachedPayload[] = "recurve/not-reached";

// What one of several servers answers.
struct ServerLoad {
  std::string server;
  absl::StatusOr<v1::GetLoadResponse> load;
};

class Replicas;

// Statuses carry gRPC's code and the server's message. Thread-safe.
class Client {
 public:
  explicit Client(const ClientOptions& options);
  ~Client();

  // Streams a completion: `on_message` for each message in order, on this thread. Returns when the
  // stream has ended; when `on_message` returns false the stream is cancelled, and it is not called
  // again.
  absl::Status Generate(const v1::GenerateRequest& request, const CallOptions& options,
                        const std::function<bool(const v1::GenerateResponse&)>& on_message);

  // The same without blocking: `on_message` and then, once, `on_end` run on a thread of gRPC's, one
  // at a time, and must not block. `on_end` must not destroy the stream. For a call that cannot be
  // sent, `on_end` runs on this thread, before the stream is returned.
  std::unique_ptr<Stream> StartGenerate(const v1::GenerateRequest& request,
                                        const CallOptions& options,
                                        std::function<void(const v1::GenerateResponse&)> on_message,
                                        std::function<void(const absl::Status&)> on_end);

  // The same for who passes messages on, and reads no faster than they go: `on_message` returns
  // true if it is done with the message, false if MessageReader::Done will be called, by any
  // thread. After that, and before Done, no other message of a stream without resumption comes.
  // Each message must be done with, or the stream does not end.
  std::unique_ptr<Stream> StartGenerate(
      const v1::GenerateRequest& request, const CallOptions& options,
      std::function<bool(const v1::GenerateResponse&, MessageReader&)> on_message,
      std::function<void(const absl::Status&)> on_end);

  absl::StatusOr<v1::CompleteResponse> Complete(const v1::GenerateRequest& request,
                                                const CallOptions& options);
  absl::StatusOr<v1::TokenizeResponse> Tokenize(const v1::TokenizeRequest& request,
                                                const CallOptions& options);
  absl::StatusOr<v1::DetokenizeResponse> Detokenize(const v1::DetokenizeRequest& request,
                                                    const CallOptions& options);
  absl::StatusOr<v1::GetModelInfoResponse> GetModelInfo(const CallOptions& options);
  absl::StatusOr<v1::GetLoadResponse> GetLoad(const CallOptions& options);
  // Of all servers at once, in the order of their names, each asked a single time. With
  // `options.timeout`, or a server that hangs holds all of them up.
  std::vector<ServerLoad> GetLoads(const CallOptions& options);

  // OK if the server says that `service` is serving (empty: the server as a whole). Unavailable if
  // it says otherwise or cannot be reached, NotFound if it does not know the service.
  absl::Status CheckHealth(const std::string& service, const CallOptions& options);

 private:
  const ClientOptions options_;
  const std::unique_ptr<Replicas> replicas_;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CLIENT_H_
