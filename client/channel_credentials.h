// SPDX-License-Identifier: Apache-2.0
// Who a client says it is, and whom it trusts: TLS, client certificates and bearer tokens.
#ifndef RECURVE_CLIENT_CHANNEL_CREDENTIALS_H_
#define RECURVE_CLIENT_CHANNEL_CREDENTIALS_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/server_name.h"

namespace grpc {
class Channel;
class ChannelArguments;
}  // namespace grpc

namespace recurve::client {

// Plain data; texts, not paths.
struct Credentials {
  // Certificate authorities, PEM, of which one must have signed the server's certificate, which
  // must name the server's host. Empty: plaintext, or of https servers the system's.
  std::string tls_ca{};
  // The client's own certificate chain and its key, PEM, for servers that ask for one. Both or
  // none, and only with TLS.
  std::string tls_cert{}, tls_key{};
  // Sent with each call as `authorization: Bearer TOKEN`: ID.SECRET, or what another server of
  // OpenAI's HTTP API calls its API key. Empty: none.
  std::string token{};
};

// Whether servers can be spoken to with them: gRPC aborts the process for metadata that it cannot
// send, tokens of other forms than ours are for HTTP alone, and a certificate without tls_ca for
// HTTPS. InvalidArgument says what is wrong; a token is never repeated.
absl::Status CheckCredentials(const Credentials& credentials,
                              Transport transport = Transport::kGrpc);

// What a file of credentials holds; a token's without the blanks around it, unchecked.
// InvalidArgument names the file.
absl::StatusOr<std::string> ReadPemFile(const std::string& path);
absl::StatusOr<std::string> ReadTokenFile(const std::string& path);

// A channel to `server`. `credentials` have passed CheckCredentials.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& server,
                                           const Credentials& credentials,
                                           const grpc::ChannelArguments& arguments);

// What a user can do about a connection that was not made, by what gRPC says of it; empty if that
// is not a matter of credentials.
std::string TlsAdvice(const std::string& message);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CHANNEL_CREDENTIALS_H_
