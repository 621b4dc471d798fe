// SPDX-License-Identifier: Apache-2.0
// A server with certificates, tokens and quotas, and clients for it.
#ifndef RECURVE_TESTS_SERVER_SECURITY_FIXTURE_H_
#define RECURVE_TESTS_SERVER_SECURITY_FIXTURE_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/scoped_directory.h"
#include "tests/server/access/test_certificates.h"
#include "tests/server/server_fixture.h"

namespace recurve {

// An entry of an access file.
std::string TokenEntry(const std::string& id, const std::string& secret, const std::string& tenant);

// Calls any method with an empty message, and hangs up once it has answered anything.
grpc::Status CallMethod(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                        const std::string& authorization);

class SecurityTest : public ServerTest {
 protected:
  SecurityTest() {
    engine_ = std::make_unique<FakeEngine>(FakeEngine::Script{MakeTokens({"x"}), {}});
  }

  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }

  void UseTokens() {
    directory_.Write("access.json",
                     absl::StrCat(R"({"tokens": [)", TokenEntry("alice-1", "s3cret", "alice"), ", ",
                                  TokenEntry("bob-1", "other", "bob"), "]}"));
    options_.access.file = Path("access.json");
  }
  void UseTls(bool mutual) {
    const CertificateAndKey pair = authority_.Sign();
    directory_.Write("cert.pem", pair.certificate);
    directory_.Write("key.pem", pair.key);
    options_.tls.cert = Path("cert.pem");
    options_.tls.key = Path("key.pem");
    if (!mutual) return;
    directory_.Write("ca.pem", authority_.certificate());
    options_.tls.client_ca = Path("ca.pem");
  }

  std::shared_ptr<grpc::Channel> TlsChannel(const CertificateAndKey& own = {}) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(
        server_->grpc_address().ToString(),
        grpc::SslCredentials({authority_.certificate(), own.key, own.certificate}), arguments);
  }

  struct Sent {
    std::string authorization{};
    std::string tenant{};
  };
  static void Fill(const Sent& sent, grpc::ClientContext* context) {
    if (!sent.authorization.empty()) context->AddMetadata("authorization", sent.authorization);
    if (!sent.tenant.empty()) context->AddMetadata("x-recurve-tenant", sent.tenant);
  }
  static grpc::Status Complete(const std::shared_ptr<grpc::Channel>& channel, const Sent& sent,
                               const std::string& prompt = "hello") {
    grpc::ClientContext context;
    Fill(sent, &context);
    v1::CompleteResponse response;
    return v1::GenerationService::NewStub(channel)->Complete(&context, TextRequest(prompt),
                                                             &response);
  }
  static grpc::Status CheckHealth(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    ::grpc::health::v1::HealthCheckResponse response;
    return ::grpc::health::v1::Health::NewStub(channel)->Check(&context, {}, &response);
  }

  const ScopedDirectory directory_;
  const TestAuthority authority_;
};

}  // namespace recurve

#endif  // RECURVE_TESTS_SERVER_SECURITY_FIXTURE_H_
