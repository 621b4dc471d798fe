// SPDX-License-Identifier: Apache-2.0
// The C++ client of a Recurve server: one channel, calls that block, and streams that call back.
#ifndef RECURVE_CLIENT_CLIENT_H_
#define RECURVE_CLIENT_CLIENT_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/channel_credentials.h"
#include "recurve/v1/generation.pb.h"

namespace recurve::client {

struct ClientOptions {
  // HOST:PORT, or any name that gRPC resolves. A server on this machine is always called directly;
  // on the way to others gRPC uses the proxy that grpc_proxy, https_proxy or http_proxy name.
  std::string server = "127.0.0.1:50051";
  // Calls that the server refuses because a queue is full or because it is not ready are tried
  // again, at most this often in all (1: never again, at most 5), after the time that the server
  // asks for.
  int attempts = 1;
  Credentials credentials;  // that pass CheckCredentials
};

inline constexpr size_t kMaxRequestIdBytes = 128;  // the server takes no longer ones

struct CallOptions {
  std::optional<std::chrono::milliseconds> timeout;  // sent to the server as the call's deadline
  // Metadata x-request-id, printable ASCII of at most kMaxRequestIdBytes: a call with another one
  // ends with InvalidArgument and is not sent. Empty: the server makes one.
  std::string request_id;
};

// A running stream. Destroying it cancels it and waits for its end.
class Stream {
 public:
  virtual ~Stream() = default;
  // Ends the stream with Cancelled, soon. Thread-safe; no effect on an ended stream.
  virtual void Cancel() = 0;
};

// Payload of a ResourceExhausted status: after how many milliseconds the server, which was full,
// wants to be asked again. Without it the message itself was too large.
inline constexpr char kRetryPushbackPayload[] = "recurve/grpc-retry-pushback-ms";

// Payload of an Unavailable status: no server was reached.
inline constexpr char kNotReachedPayload[] = "recurve/not-reached";

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

  absl::StatusOr<v1::CompleteResponse> Complete(const v1::GenerateRequest& request,
                                                const CallOptions& options);
  absl::StatusOr<v1::TokenizeResponse> Tokenize(const v1::TokenizeRequest& request,
                                                const CallOptions& options);
  absl::StatusOr<v1::DetokenizeResponse> Detokenize(const v1::DetokenizeRequest& request,
                                                    const CallOptions& options);
  absl::StatusOr<v1::GetModelInfoResponse> GetModelInfo(const CallOptions& options);
  absl::StatusOr<v1::GetLoadResponse> GetLoad(const CallOptions& options);

  // OK if the server says that `service` is serving (empty: the server as a whole). Unavailable if
  // it says otherwise or cannot be reached, NotFound if it does not know the service.
  absl::Status CheckHealth(const std::string& service, const CallOptions& options);

 private:
  struct Stubs;
  std::unique_ptr<Stubs> stubs_;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CLIENT_H_
