// SPDX-License-Identifier: Apache-2.0
// HTTPS against a server whose certificates are made for each test.
#include "client/load/tls_client.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "client/client.h"
#include "client/load/http_client.h"
#include "gmock/gmock.h"
#include "tests/client/load/fake_http_server.h"
#include "tests/client/scoped_environment.h"
#include "tests/scoped_directory.h"
#include "tests/server/access/test_certificates.h"

namespace recurve::client {
namespace {

namespace asio = boost::asio;
namespace ssl = asio::ssl;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kAnswer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

class Receiver final : public HttpReceiver {
 public:
  void OnHeader(int code, std::string /*retry_after*/) override { code_ = code; }
  bool OnBody(std::string_view bytes) override {
    body_ += bytes;
    return true;
  }
  void OnEnd(const absl::Status& status) override {
    status_ = status;
    ended_.Notify();
  }

  absl::StatusOr<std::string> Wait() {
    ended_.WaitForNotification();
    if (!status_.ok()) return status_;
    return absl::StrCat(code_, " ", body_);
  }

 private:
  int code_ = 0;
  std::string body_;
  absl::Status status_;
  absl::Notification ended_;
};

absl::StatusOr<std::string> Get(HttpClient& client,
                                std::optional<std::chrono::milliseconds> timeout = std::nullopt) {
  Receiver receiver;
  HttpRequest request;
  request.path = "/";
  request.timeout = timeout;
  const auto call = client.Call(std::move(request), &receiver);
  call->Start();
  return receiver.Wait();
}

// A server with a certificate of an authority of its own.
class SecureServer {
 public:
  explicit SecureServer(const CertificateTerms& terms = {},
                        const std::string& address = "127.0.0.1", bool asks_clients = false)
      : tls_(ssl::context::tls_server) {
    const CertificateAndKey own = authority_.Sign(terms);
    tls_.use_certificate_chain(asio::buffer(own.certificate));
    tls_.use_private_key(asio::buffer(own.key), ssl::context::pem);
    if (asks_clients) {
      tls_.add_certificate_authority(asio::buffer(authority_.certificate()));
      tls_.set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert);
    }
    // As SSL_CTX_set_tlsext_servername_callback does, but for its cast.
    SSL_CTX_callback_ctrl(tls_.native_handle(), SSL_CTRL_SET_TLSEXT_SERVERNAME_CB,
                          reinterpret_cast<void (*)()>(&TakeName));
    SSL_CTX_set_tlsext_servername_arg(tls_.native_handle(), this);
    server_.emplace([](const std::string& /*request*/) { return kAnswer; }, &tls_, address);
  }

  const TestAuthority& authority() const { return authority_; }
  ssl::context& tls() { return tls_; }
  const FakeHttpServer& http() const { return *server_; }
  std::string at(const std::string& host) const {
    return absl::StrCat("https://", host, ":", server_->port());
  }
  const std::string& asked_for() const { return asked_for_; }  // by the last client

 private:
  static int TakeName(SSL* connection, int* /*alert*/, void* self) {
    const char* const name = SSL_get_servername(connection, TLSEXT_NAMETYPE_host_name);
    static_cast<SecureServer*>(self)->asked_for_ = name == nullptr ? "" : name;
    return SSL_TLSEXT_ERR_OK;
  }

  const TestAuthority authority_;
  ssl::context tls_;
  std::string asked_for_;
  std::optional<FakeHttpServer> server_;
};

std::unique_ptr<HttpClient> ClientOf(
    const std::string& url, const Credentials& credentials,
    std::chrono::milliseconds connect_timeout = std::chrono::seconds(20)) {
  const auto parsed = ParseHttpUrl(url);
  const auto tls = TlsClient::Create(credentials);
  EXPECT_TRUE(parsed.ok() && tls.ok()) << parsed.status() << tls.status();
  return std::make_unique<HttpClient>(*parsed, *tls, connect_timeout);
}

absl::StatusOr<std::string> Get(const std::string& url, const Credentials& credentials) {
  return Get(*ClientOf(url, credentials));
}

std::string Refusal(const std::string& url, const Credentials& credentials) {
  const auto answer = Get(url, credentials);
  EXPECT_TRUE(absl::IsFailedPrecondition(answer.status())) << answer.status();
  return std::string(answer.status().message());
}

TEST(TlsClientTest, ConnectionsAreUsedAgain) {
  const SecureServer server;
  const auto client =
      ClientOf(server.at("localhost"), {.tls_ca = server.authority().certificate()});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(*Get(*client), "200 hi");
  EXPECT_EQ(server.http().connections(), 1);
  EXPECT_EQ(server.asked_for(), "localhost");
}

TEST(TlsClientTest, AddressesAreFoundInCertificatesAndAreNoServersNames) {
  const SecureServer server;
  EXPECT_EQ(*Get(server.http().url(), {.tls_ca = server.authority().certificate()}), "200 hi");
  EXPECT_EQ(server.asked_for(), "");
}

bool HasIpv6() {
  asio::io_context context;
  asio::ip::tcp::acceptor acceptor(context);
  boost::system::error_code error;
  acceptor.open(asio::ip::tcp::v6(), error);
  if (!error) acceptor.bind({asio::ip::address_v6::loopback(), 0}, error);
  return !error;
}

TEST(TlsClientTest, AddressesOfIpv6AreToo) {
  if (!HasIpv6()) GTEST_SKIP() << "this machine has no IPv6";
  const SecureServer server({.alternative_names = "IP:::1"}, "::1");
  EXPECT_EQ(*Get(server.http().url(), {.tls_ca = server.authority().certificate()}), "200 hi");
}

TEST(TlsClientTest, CertificatesOfOtherHostsAreRefused) {
  const SecureServer server({.alternative_names = "DNS:elsewhere.example,IP:127.0.0.2"});
  const Credentials credentials = {.tls_ca = server.authority().certificate()};
  EXPECT_THAT(Refusal(server.at("localhost"), credentials),
              AllOf(HasSubstr("the certificate of localhost:"), HasSubstr("name the server by")));
  EXPECT_THAT(Refusal(server.at("127.0.0.1"), credentials), HasSubstr("name the server by"));
}

TEST(TlsClientTest, AuthoritiesThatNobodyNamedAreRefused) {
  const ScopedEnvironment environment({"SSL_CERT_FILE", "SSL_CERT_DIR"});
  const ScopedDirectory directory;
  environment.Set("SSL_CERT_DIR", directory.path());
  const SecureServer server;
  EXPECT_THAT(Refusal(server.at("localhost"), {}), HasSubstr("by --tls_ca=FILE"));
  // Those of the flag are trusted in place of the system's.
  directory.Write("system.pem", server.authority().certificate());
  environment.Set("SSL_CERT_FILE", directory.path() + "/system.pem");
  EXPECT_EQ(*Get(server.at("localhost"), {}), "200 hi");
  EXPECT_THAT(Refusal(server.at("localhost"), {.tls_ca = TestAuthority("other").certificate()}),
              HasSubstr("not of the authorities that --tls_ca names"));
  EXPECT_THAT(Refusal(server.at("localhost"), {.tls_ca = TestAuthority().certificate()}),
              HasSubstr("not of the authorities that --tls_ca names"));
}

TEST(TlsClientTest, CertificatesOutOfDateAreRefused) {
  const SecureServer server({.from_days = -3, .to_days = -1});
  EXPECT_THAT(Refusal(server.at("localhost"), {.tls_ca = server.authority().certificate()}),
              HasSubstr("certificate has expired"));
}

TEST(TlsClientTest, ServersMayAskForAClientsCertificate) {
  SecureServer server({}, "127.0.0.1", /*asks_clients=*/true);
  const CertificateAndKey own = server.authority().Sign();
  const CertificateAndKey others = TestAuthority("other").Sign();
  const std::string url = server.at("localhost"), ca = server.authority().certificate();
  for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    SSL_CTX_set_max_proto_version(server.tls().native_handle(), version);
    EXPECT_EQ(*Get(url, {.tls_ca = ca, .tls_cert = own.certificate, .tls_key = own.key}), "200 hi");
    EXPECT_THAT(Refusal(url, {.tls_ca = ca}), HasSubstr("--tls_cert and --tls_key"));
    EXPECT_THAT(Refusal(url, {.tls_ca = ca, .tls_cert = others.certificate, .tls_key = others.key}),
                HasSubstr("does not take the certificate of --tls_cert"));
  }
}

TEST(TlsClientTest, AHandshakeTakesNoLongerThanItMay) {
  // It waits for a request's end, which a handshake does not have.
  const FakeHttpServer silent([](const std::string& /*request*/) { return kAnswer; });
  const std::string url = absl::StrCat("https://127.0.0.1:", silent.port());
  const auto patient = ClientOf(url, {});
  const absl::Status late = Get(*patient, std::chrono::milliseconds(5)).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(late));
  EXPECT_THAT(std::string(late.message()), HasSubstr("before a connection to 127.0.0.1:"));
  const absl::Status slow = Get(*ClientOf(url, {}, std::chrono::milliseconds(5))).status();
  EXPECT_TRUE(absl::IsUnavailable(slow) && slow.GetPayload(kNotReachedPayload)) << slow;
  EXPECT_THAT(std::string(slow.message()), HasSubstr("no answer in time"));
}

TEST(TlsClientTest, PlaintextAtAPortOfTlsIsToldOfIt) {
  const SecureServer server;
  HttpClient client(*ParseHttpUrl(absl::StrCat("http://localhost:", server.http().port())));
  const absl::Status status = Get(client).status();
  EXPECT_TRUE(absl::IsUnavailable(status) && status.GetPayload(kNotReachedPayload)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(absl::StrCat("does it want TLS, as ", server.at("localhost"), "?")));
}

TEST(TlsClientTest, WhatCannotBeUsedIsNamed) {
  const TestAuthority authority;
  const CertificateAndKey one = authority.Sign(), other = authority.Sign();
  const auto fault = [](const Credentials& credentials) {
    const absl::Status status = TlsClient::Create(credentials).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(fault({.tls_ca = one.key}), HasSubstr("--tls_ca"));
  EXPECT_THAT(fault({.tls_cert = one.key, .tls_key = one.key}), HasSubstr("--tls_cert"));
  EXPECT_THAT(fault({.tls_cert = one.certificate, .tls_key = other.key}), HasSubstr("--tls_key"));
  EXPECT_THAT(fault({.tls_cert = one.certificate, .tls_key = one.certificate}),
              AllOf(HasSubstr("--tls_key"), Not(HasSubstr("BEGIN"))));
}

}  // namespace
}  // namespace recurve::client
