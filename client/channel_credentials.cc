// SPDX-License-Identifier: Apache-2.0
#include "client/channel_credentials.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/client_interceptor.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace recurve::client {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;

// Adds the token to each call. gRPC's own call credentials refuse plaintext channels.
class TokenInterceptor final : public grpc::experimental::Interceptor {
 public:
  explicit TokenInterceptor(const std::string* authorization) : authorization_(authorization) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using grpc::experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->insert({"authorization", *authorization_});
    }
    methods->Proceed();
  }

 private:
  const std::string* const authorization_;
};

// The channel owns it, and each interceptor is of a call of the channel.
class TokenInterceptorFactory final : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit TokenInterceptorFactory(const std::string& token)
      : authorization_(absl::StrCat("Bearer ", token)) {}

  grpc::experimental::Interceptor* CreateClientInterceptor(
      grpc::experimental::ClientRpcInfo* /*info*/) override {
    return new TokenInterceptor(&authorization_);
  }

 private:
  const std::string authorization_;
};

std::shared_ptr<grpc::ChannelCredentials> ToGrpc(const Credentials& credentials) {
  if (credentials.tls_ca.empty()) return grpc::InsecureChannelCredentials();
  return grpc::SslCredentials({.pem_root_certs = credentials.tls_ca,
                               .pem_private_key = credentials.tls_key,
                               .pem_cert_chain = credentials.tls_cert});
}

absl::Status CheckToken(absl::string_view token, Transport transport) {
  const size_t dot = token.find('.');
  const bool is_ours = dot != absl::string_view::npos && dot > 0 && dot + 1 < token.size();
  const bool is_printable = std::all_of(token.begin(), token.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c));
  });
  if (is_printable && (is_ours || transport != Transport::kGrpc)) return absl::OkStatus();
  if (transport != Transport::kGrpc) {
    return absl::InvalidArgumentError("the token is not of printable characters without blanks");
  }
  return absl::InvalidArgumentError(
      "the token is not of the form ID.SECRET, printable characters without blanks; `recurve token "
      "--id=ID` makes one");
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (!file.is_open() || file.bad() || text.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", errno == 0 ? "the file is empty" : std::strerror(errno)));
  }
  if (text.size() > kMaxFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has ", text.size(), " bytes; at most ", kMaxFileBytes, " are read"));
  }
  return text;
}

}  // namespace

absl::Status CheckCredentials(const Credentials& credentials, Transport transport) {
  if (credentials.tls_cert.empty() != credentials.tls_key.empty()) {
    return absl::InvalidArgumentError(
        "--tls_cert and --tls_key, the client's certificate and its key, go together; give both");
  }
  if (!credentials.tls_cert.empty() && credentials.tls_ca.empty() &&
      transport != Transport::kHttps) {
    return absl::InvalidArgumentError(
        "--tls_cert is shown to servers that are reached with TLS; say by --tls_ca=FILE which "
        "certificate authority the server's certificate is of");
  }
  return credentials.token.empty() ? absl::OkStatus() : CheckToken(credentials.token, transport);
}

absl::StatusOr<std::string> ReadPemFile(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  if (text.ok() && !absl::StrContains(*text, "-----BEGIN ")) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is not PEM: it has no line that begins with -----BEGIN"));
  }
  return text;
}

absl::StatusOr<std::string> ReadTokenFile(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return text;
  absl::StripAsciiWhitespace(&*text);
  if (text->empty()) return absl::InvalidArgumentError(path + ": the file is blank");
  return text;
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& server,
                                           const Credentials& credentials,
                                           const grpc::ChannelArguments& arguments) {
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> interceptors;
  if (!credentials.token.empty()) {
    interceptors.push_back(std::make_unique<TokenInterceptorFactory>(credentials.token));
  }
  return grpc::experimental::CreateCustomChannelWithInterceptors(
      server, ToGrpc(credentials), arguments, std::move(interceptors));
}

std::string TlsAdvice(const std::string& message) {
  const std::string said = absl::AsciiStrToLower(message);
  if (absl::StrContains(said, "certificate verify failed")) {
    return "The server's certificate is not of the authority that --tls_ca names, or is out of "
           "date.";
  }
  if (absl::StrContains(said, "hostname verification") ||
      absl::StrContains(said, "is not in peer certificate")) {
    return "The server's certificate is of another host: name the server by --server as its "
           "certificate does.";
  }
  if (absl::StrContains(said, "wrong version number")) {
    return "The server speaks plaintext at this port: leave --tls_ca out, or name its TLS port.";
  }
  if (absl::StrContains(said, "empty address list")) {
    return "No connection can be made of --tls_ca, --tls_cert and --tls_key: are they PEM, and "
           "does "
           "the key belong to the certificate?";
  }
  return "";
}

}  // namespace recurve::client
