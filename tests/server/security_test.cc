// SPDX-License-Identifier: Apache-2.0
// Who gets in: TLS, client certificates, tokens, tenants, over every method that there is.
#include <google/protobuf/descriptor.pb.h>

#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "tests/server/security_fixture.h"

namespace recurve {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

namespace reflection = grpc::reflection::v1;

// ---- Every method of every service, found by reflection ----

// Asks one question of a reflection service.
template <typename Stub, typename Request, typename Response>
grpc::Status AskReflection(Stub* stub, const Request& request, const std::string& authorization,
                           Response* response) {
  grpc::ClientContext context;
  if (!authorization.empty()) context.AddMetadata("authorization", authorization);
  const auto stream = stub->ServerReflectionInfo(&context);
  stream->Write(request);
  stream->WritesDone();
  Response more;
  while (stream->Read(&more)) *response = more;
  return stream->Finish();
}

// "/package.Service/Method" of all.
std::set<std::string> AllMethods(const std::shared_ptr<grpc::Channel>& channel,
                                 const std::string& authorization) {
  const auto stub = reflection::ServerReflection::NewStub(channel);
  reflection::ServerReflectionRequest request;
  reflection::ServerReflectionResponse services;
  request.set_list_services("");
  EXPECT_TRUE(AskReflection(stub.get(), request, authorization, &services).ok());
  std::set<std::string> methods;
  for (const auto& service : services.list_services_response().service()) {
    request.set_file_containing_symbol(service.name());
    reflection::ServerReflectionResponse files;
    EXPECT_TRUE(AskReflection(stub.get(), request, authorization, &files).ok());
    for (const std::string& bytes : files.file_descriptor_response().file_descriptor_proto()) {
      google::protobuf::FileDescriptorProto file;
      EXPECT_TRUE(file.ParseFromString(bytes));
      for (const auto& of_file : file.service()) {
        if (absl::StrCat(file.package(), ".", of_file.name()) != service.name()) continue;
        for (const auto& method : of_file.method()) {
          methods.insert(absl::StrCat("/", service.name(), "/", method.name()));
        }
      }
    }
  }
  return methods;
}

TEST_F(SecurityTest, NoMethodButHealthAnswersWithoutARightToken) {
  UseTokens();
  Start();
  const auto channel = NewChannel();
  const std::set<std::string> methods = AllMethods(channel, "Bearer alice-1.s3cret");
  EXPECT_GE(methods.size(), 10U);
  EXPECT_THAT(methods, AllOf(Contains("/recurve.v1.GenerationService/Generate"),
                             Contains("/grpc.health.v1.Health/Watch"),
                             Contains("/grpc.reflection.v1alpha.ServerReflection/"
                                      "ServerReflectionInfo")));
  int refused = 0;
  std::set<std::string> messages;
  for (const std::string& method : methods) {
    const bool is_health = method.starts_with("/grpc.health.v1.Health/");
    for (const char* authorization :
         {"", "Bearer", "Bearer nobody.s3cret", "Bearer alice-1.wrong", "Basic alice-1.s3cret"}) {
      const grpc::Status status = CallMethod(NewChannel(), method, authorization);
      if (is_health) {
        EXPECT_TRUE(status.ok()) << method << ": " << status.error_message();
      } else {
        EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED)
            << method << " with '" << authorization << "'";
        messages.insert(status.error_message());
        ++refused;
      }
    }
    EXPECT_NE(CallMethod(NewChannel(), method, "Bearer alice-1.s3cret").error_code(),
              grpc::StatusCode::UNAUTHENTICATED)
        << method;
  }
  EXPECT_EQ(messages.size(), 1U) << "they tell what was wrong";
  const std::string page = MetricsPage();
  double counted = 0;
  for (const char* reason : {"missing", "malformed", "unknown", "wrong"}) {
    const auto count =
        MetricValue(page, absl::StrCat("recurve_unauthenticated_total{reason=\"", reason, "\"}"));
    EXPECT_GT(*count, 0) << reason;
    counted += *count;
  }
  EXPECT_EQ(counted, refused);
  EXPECT_GT(*MetricValue(page, "recurve_admission_rejections_total{reason=\"unauthenticated\"}"),
            0);
}

TEST_F(SecurityTest, ReflectionTellsTheSameInBothVersions) {
  Start();
  const auto channel = NewChannel();
  const auto stub = reflection::ServerReflection::NewStub(channel);
  const auto alpha = grpc::reflection::v1alpha::ServerReflection::NewStub(channel);
  const auto ask = [&](const auto& fill) {
    reflection::ServerReflectionRequest request;
    grpc::reflection::v1alpha::ServerReflectionRequest alpha_request;
    reflection::ServerReflectionResponse response;
    grpc::reflection::v1alpha::ServerReflectionResponse alpha_response;
    fill(&request);
    fill(&alpha_request);
    EXPECT_TRUE(AskReflection(stub.get(), request, "", &response).ok());
    EXPECT_TRUE(AskReflection(alpha.get(), alpha_request, "", &alpha_response).ok());
    EXPECT_EQ(response.SerializeAsString(), alpha_response.SerializeAsString());
    return response;
  };
  std::vector<std::string> names;
  const auto services = ask([](auto* r) { r->set_list_services(""); });
  for (const auto& service : services.list_services_response().service()) {
    names.push_back(service.name());
  }
  EXPECT_THAT(names,
              UnorderedElementsAre("recurve.v1.GenerationService", "inference.GRPCInferenceService",
                                   "vllm.grpc.engine.VllmEngine", "grpc.health.v1.Health",
                                   "grpc.reflection.v1.ServerReflection",
                                   "grpc.reflection.v1alpha.ServerReflection"));
  const auto files = [&](const auto& fill) {
    return ask(fill).file_descriptor_response().file_descriptor_proto_size();
  };
  EXPECT_EQ(files([](auto* r) { r->set_file_by_filename("grpc/health/v1/health.proto"); }), 1);
  EXPECT_EQ(files([](auto* r) { r->set_file_containing_symbol("recurve.v1.GenerateRequest"); }), 1);
  for (const auto& response :
       {ask([](auto* r) { r->set_file_by_filename("nothing.proto"); }),
        ask([](auto* r) { r->set_file_containing_symbol("no.Symbol"); }),
        ask([](auto* r) { r->set_all_extension_numbers_of_type("no.Type"); }), ask([](auto* r) {
          r->mutable_file_containing_extension()->set_containing_type("no.T");
        })}) {
    EXPECT_EQ(response.error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  }
  EXPECT_EQ(ask([](auto*) {}).error_response().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const auto extensions =
      ask([](auto* r) { r->set_all_extension_numbers_of_type("recurve.v1.GenerateRequest"); });
  EXPECT_EQ(extensions.all_extension_numbers_response().extension_number_size(), 0);
}

// ---- Tenants ----

TEST_F(SecurityTest, ATokensTenantIsBelievedAndMetadataIsNot) {
  UseTokens();
  Start();
  ASSERT_TRUE(Complete(NewChannel(), {.authorization = "Bearer alice-1.s3cret"}).ok());
  ASSERT_TRUE(
      Complete(NewChannel(), {.authorization = "Bearer bob-1.other", .tenant = "bob"}).ok());
  EXPECT_EQ(engine_->WaitForRequest(0).tenant, "alice");
  EXPECT_EQ(engine_->WaitForRequest(1).tenant, "bob");
  const grpc::Status other =
      Complete(NewChannel(), {.authorization = "Bearer alice-1.s3cret", .tenant = "bob"});
  EXPECT_EQ(other.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(other.error_message(), AllOf(HasSubstr("'bob'"), HasSubstr("'alice'")));
  EXPECT_EQ(engine_->num_accepted(), 2U);
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_unauthenticated_total{reason=\"other_tenant\"}"),
            1);
}

TEST_F(SecurityTest, ACertificatesNameIsTheTenant) {
  UseTls(/*mutual=*/true);
  Start();
  const std::pair<CertificateTerms, const char*> kNames[] = {
      {{.common_name = "cn", .alternative_names = "URI:spiffe://cluster/ns/a/sa/b,DNS:dns"},
       "spiffe://cluster/ns/a/sa/b"},
      {{.common_name = "cn", .alternative_names = "IP:10.0.0.1,DNS:dns.one,DNS:dns.two"},
       "dns.one"},
      {{.common_name = "cn", .alternative_names = ""}, "cn"}};
  size_t calls = 0;
  for (const auto& [terms, tenant] : kNames) {
    const grpc::Status status = Complete(TlsChannel(authority_.Sign(terms)), {});
    ASSERT_TRUE(status.ok()) << tenant << ": " << status.error_message();
    EXPECT_EQ(engine_->WaitForRequest(calls++).tenant, tenant);
  }
  const auto channel = TlsChannel(authority_.Sign(kNames[2].first));
  EXPECT_EQ(Complete(channel, {.tenant = "another"}).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  for (const auto& terms :
       {CertificateTerms{.common_name = std::string(kMaxTenantBytes, 'n') + "x",
       .alternative_names = std::string("DNS:") + std::string(kMaxTenantBytes + 1, 'n')},
        CertificateTerms{.common_name = "", .alternative_names = ""},
        CertificateTerms{.common_name = "line\nbreak", .alternative_names = ""}}) {
    CertificateTerms signed_terms = terms;
    if (terms.common_name.size() > 64) signed_terms.common_name = "short";
    const grpc::Status status = Complete(TlsChannel(authority_.Sign(signed_terms)), {});
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
    EXPECT_THAT(status.error_message(), HasSubstr("a tenant has from 1 to 128"));
  }
  EXPECT_EQ(
      MetricValue(MetricsPage(), "recurve_unauthenticated_total{reason=\"nameless_certificate\"}"),
      3);
}

TEST_F(SecurityTest, ATokenGoesBeforeACertificate) {
  UseTls(/*mutual=*/true);
  UseTokens();
  Start();
  const auto channel = TlsChannel(authority_.Sign());
  EXPECT_EQ(Complete(channel, {}).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  ASSERT_TRUE(Complete(channel, {.authorization = "Bearer alice-1.s3cret"}).ok());
  EXPECT_EQ(engine_->WaitForRequest(0).tenant, "alice");
}

// ---- TLS ----

TEST_F(SecurityTest, OnlyTlsAndOnlyKnownClientsGetIn) {
  UseTls(/*mutual=*/true);
  Start();
  EXPECT_TRUE(CheckHealth(TlsChannel(authority_.Sign())).ok());
  EXPECT_FALSE(CheckHealth(NewChannel()).ok()) << "plaintext";
  EXPECT_FALSE(CheckHealth(TlsChannel()).ok()) << "no certificate";
  EXPECT_FALSE(CheckHealth(TlsChannel(TestAuthority("other").Sign())).ok()) << "a stranger's";
  EXPECT_FALSE(CheckHealth(TlsChannel(authority_.Sign({.from_days = -9, .to_days = -2}))).ok())
      << "an expired one";
  EXPECT_TRUE(CheckHealth(TlsChannel(authority_.Sign())).ok());
}

TEST_F(SecurityTest, WithoutAClientAuthorityTheTenantIsWhatTheClientSays) {
  UseTls(/*mutual=*/false);
  Start();
  ASSERT_TRUE(Complete(TlsChannel(), {.tenant = "acme"}).ok());
  EXPECT_EQ(engine_->WaitForRequest(0).tenant, "acme");
}

TEST_F(SecurityTest, NewCertificatesAreForNewConnections) {
  UseTls(/*mutual=*/true);
  options_.access.reload_interval = Milliseconds(10);
  Start();
  const auto old_channel = TlsChannel(authority_.Sign());
  ASSERT_TRUE(CheckHealth(old_channel).ok());
  const TestAuthority next("next");
  const CertificateAndKey pair = next.Sign();
  directory_.Write("cert.pem", pair.certificate);
  directory_.Write("key.pem", pair.key);
  directory_.Write("ca.pem", next.certificate());
  const auto next_channel = [&] {
    const CertificateAndKey own = next.Sign();
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(
        server_->grpc_address().ToString(),
        grpc::SslCredentials({next.certificate(), own.key, own.certificate}), arguments);
  };
  while (!CheckHealth(next_channel()).ok()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_TRUE(CheckHealth(old_channel).ok());
  EXPECT_FALSE(CheckHealth(TlsChannel(authority_.Sign())).ok());
}

TEST_F(SecurityTest, AStartWithABadFileNamesIt) {
  UseTls(/*mutual=*/false);
  directory_.Write("key.pem", authority_.Sign().key);
  log_ = std::make_unique<Log>(options_.log.format, fileno(log_file_));
  const auto server = Server::Create(options_, log_.get());
  EXPECT_THAT(server.status().message(),
              AllOf(HasSubstr("--tls_key: "), HasSubstr("key.pem: is not "
                                                        "the key")));
}

}  // namespace
}  // namespace recurve
