// SPDX-License-Identifier: Apache-2.0
// Who gets in: TLS, client certificates, tokens, tenants, over every method that there is.
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/generic/generic_stub.h>

#include <map>
#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/access/tokens.h"
#include "tests/scoped_directory.h"
#include "tests/server/access/test_certificates.h"
#include "tests/server/server_fixture.h"
#include "tests/server/sockets.h"

namespace recurve {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::UnorderedElementsAre;

namespace reflection = grpc::reflection::v1;
namespace health = grpc::health::v1;

std::string TokenEntry(const std::string& id, const std::string& secret,
                       const std::string& tenant) {
  const Sha256 hash = HashSecret(secret);
  return absl::StrCat(R"({"id": ")", id, R"(", "tenant": ")", tenant, R"(", "sha256": ")",
                      absl::BytesToHexString(absl::string_view(
                          reinterpret_cast<const char*>(hash.data()), hash.size())),
                      R"("})");
}

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
    health::HealthCheckResponse response;
    return health::Health::NewStub(channel)->Check(&context, {}, &response);
  }

  const ScopedDirectory directory_;
  const TestAuthority authority_;
};

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

// Calls any method with an empty message, and hangs up once it has answered anything.
grpc::Status CallMethod(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                        const std::string& authorization) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  if (!authorization.empty()) context.AddMetadata("authorization", authorization);
  grpc::CompletionQueue queue;
  const auto stream = stub.PrepareCall(&context, method, &queue);
  const auto wait = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  stream->StartCall(nullptr);
  wait();
  const grpc::Slice nothing;
  stream->WriteLast(grpc::ByteBuffer(&nothing, 1), {}, nullptr);
  wait();
  grpc::ByteBuffer answer;
  stream->Read(&answer, nullptr);
  if (wait()) return grpc::Status::OK;  // the destructors cancel what goes on
  grpc::Status status;
  stream->Finish(&status, nullptr);
  wait();
  return status;
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

// ---- Health ----

TEST_F(SecurityTest, HealthHasAPlaintextPortAndKnowsWhatTheTlsPortAnswers) {
  UseTls(/*mutual=*/true);
  UseTokens();
  options_.self_check = {.interval = Milliseconds(10), .timeout = Milliseconds(60000)};
  options_.listen.health_listen = Address{"127.0.0.1", 0, ""};
  Start();
  const auto channel = grpc::CreateChannel(server_->health_address()->ToString(),
                                           grpc::InsecureChannelCredentials());
  const auto stub = health::Health::NewStub(channel);
  const auto status_of = [&](const std::string& name) {
    grpc::ClientContext context;
    health::HealthCheckRequest request;
    request.set_service(name);
    health::HealthCheckResponse response;
    EXPECT_TRUE(stub->Check(&context, request, &response).ok());
    return response.status();
  };
  EXPECT_EQ(status_of(""), health::HealthCheckResponse::SERVING);
  EXPECT_EQ(status_of("liveness"), health::HealthCheckResponse::SERVING);
  server_->SetServing(false);
  EXPECT_EQ(status_of(""), health::HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(status_of("recurve.v1.GenerationService"), health::HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(status_of("liveness"), health::HealthCheckResponse::SERVING);
  // Nothing else is there.
  for (const char* method : {"/recurve.v1.GenerationService/GetLoad",
                             "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"}) {
    EXPECT_EQ(CallMethod(channel, method, "").error_code(), grpc::StatusCode::UNIMPLEMENTED);
  }
  const std::string page = MetricsPage();
  EXPECT_EQ(MetricValue(page, "recurve_self_check_failures_total"), 0);
  EXPECT_EQ(MetricValue(page, "recurve_limit{limit=\"max_health_connections\"}"), 64);
}

// The self check is a handshake and a call: a port that speaks no TLS any more is deaf.
TEST_F(SecurityTest, ATlsPortThatAnswersNobodyIsDeaf) {
  UseTls(/*mutual=*/true);
  options_.self_check = {.interval = Milliseconds(10), .timeout = Milliseconds(400)};
  options_.listen.health_listen = Address{"127.0.0.1", 0, ""};
  std::atomic<bool> deaf = false;
  // What comes is accepted, and what gRPC gets in its place is a connection to nobody.
  std::vector<ScopedDescriptor> swallowed;
  seams_.accept = [&](int listener, sockaddr* address, socklen_t* size) {
    const int connection = accept4(listener, address, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection < 0 || !deaf) return connection;
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    swallowed.emplace_back(connection);
    swallowed.emplace_back(pair[1]);
    return pair[0];
  };
  Start();
  const auto http_status = [this](const std::string& path) {
    return HttpClient(server_->metrics_address()).Get(path).status;
  };
  while (http_status("/readyz") != 200) std::this_thread::yield();
  EXPECT_EQ(http_status("/healthz"), 200);
  deaf = true;
  while (http_status("/healthz") != 503) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(http_status("/readyz"), 503);
  const auto channel = grpc::CreateChannel(server_->health_address()->ToString(),
                                           grpc::InsecureChannelCredentials());
  grpc::ClientContext context;
  health::HealthCheckRequest request;
  request.set_service("liveness");
  health::HealthCheckResponse response;
  ASSERT_TRUE(health::Health::NewStub(channel)->Check(&context, request, &response).ok());
  EXPECT_EQ(response.status(), health::HealthCheckResponse::NOT_SERVING);
  deaf = false;
  while (http_status("/healthz") != 200) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  server_->Shutdown(std::chrono::steady_clock::now());  // before what its seam uses
}

// ---- Connections ----

TEST_F(SecurityTest, HandshakesThatNeverEndLetGoOfTheirConnections) {
  UseTls(/*mutual=*/false);
  options_.connection.handshake_timeout = Milliseconds(200);
  options_.listen.max_connections = 4;
  Start();
  std::vector<HttpClient> silent;
  for (int i = 0; i < 4; ++i) silent.emplace_back(server_->grpc_address());
  for (HttpClient& client : silent) EXPECT_TRUE(client.WaitUntilClosed());
  while (!CheckHealth(TlsChannel()).ok()) std::this_thread::yield();
  const std::string page = MetricsPage();
  EXPECT_EQ(MetricValue(page, "recurve_limit{limit=\"handshake_timeout\"}"), 0.2);
  EXPECT_LE(*MetricValue(page, "recurve_connections_open"), 1);
}

TEST_F(SecurityTest, SilentPlaintextConnectionsAreClosedToo) {
  options_.connection.handshake_timeout = Milliseconds(50);
  Start();
  HttpClient silent(server_->grpc_address());
  EXPECT_TRUE(silent.WaitUntilClosed(/*discard=*/true));  // what HTTP/2 begins with comes first
}

TEST_F(SecurityTest, AConnectionsAgeEnds) {
  engine_ = std::make_unique<FakeEngine>();
  options_.connection.max_age = Milliseconds(20);
  Start();
  // The call that runs goes on, without a bound.
  const auto channel = NewChannel();
  const auto stub = v1::GenerationService::NewStub(channel);
  grpc::ClientContext context;
  const auto reader = stub->Generate(&context, TextRequest());
  engine_->WaitForRequest(0);
  const auto wait_for = [&](grpc_connectivity_state wanted) {
    for (auto state = channel->GetState(false); state != wanted; state = channel->GetState(false)) {
      channel->WaitForStateChange(state, std::chrono::system_clock::now() + std::chrono::hours(1));
    }
  };
  wait_for(GRPC_CHANNEL_IDLE);  // GOAWAY has come
  engine_->Emit(1, MakeTokens({"x"}));
  engine_->End(1, {});
  EXPECT_TRUE(ReadAll(reader.get()).status.ok());
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_limit{limit=\"max_connection_age\"}"), 0.02);
}

TEST_F(SecurityTest, AnAgesGraceCutsCalls) {
  engine_ = std::make_unique<FakeEngine>();
  options_.connection.max_age = Milliseconds(10);
  options_.connection.max_age_grace = Milliseconds(10);
  Start();
  EXPECT_EQ(Generate(TextRequest()).status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(SecurityTest, StreamsOfAConnectionAreBounded) {
  engine_ = std::make_unique<FakeEngine>();
  options_.connection.max_streams = 2;
  Start();
  const auto stub = NewStub();
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&stub] {
      grpc::ClientContext context;
      EXPECT_TRUE(ReadAll(stub->Generate(&context, TextRequest()).get()).status.ok());
    });
  }
  engine_->WaitForRequest(1);
  ASSERT_TRUE(CheckHealth(NewChannel()).ok());  // another connection is another matter
  EXPECT_EQ(engine_->num_accepted(), 2U);
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_limit{limit=\"max_streams_per_connection\"}"), 2);
  engine_->End(1, {});
  engine_->WaitForRequest(2);  // the third has come
  engine_->End(2, {});
  engine_->End(3, {});
  for (std::thread& client : clients) client.join();
}

TEST_F(SecurityTest, MetadataIsBounded) {
  Start();
  const auto call = [&](size_t bytes) {
    grpc::ClientContext context;
    context.AddMetadata("x-large", std::string(bytes, 'x'));
    v1::CompleteResponse response;
    return NewStub()->Complete(&context, TextRequest(), &response).error_code();
  };
  EXPECT_EQ(call(12 << 10), grpc::StatusCode::OK);
  EXPECT_EQ(call(20 << 10), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_limit{limit=\"max_metadata_bytes\"}"), 16384);
}

// ---- Quotas and logs ----

TEST_F(SecurityTest, AnEmptyBucketSaysWhenToComeBack) {
  directory_.Write("access.json", R"({"quotas": {"alice": {"tokens_per_minute": 600}}})");
  options_.access.file = Path("access.json");
  engine_ = std::make_unique<FakeEngine>();
  Start();
  v1::GenerateRequest request = TextRequest();
  request.mutable_stop()->set_max_tokens(500);
  grpc::ClientContext first;
  first.AddMetadata("x-recurve-tenant", "alice");
  const auto stub = NewStub();
  const auto reader = stub->Generate(&first, request);
  engine_->WaitForRequest(0);
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_tenants_tracked"), 1);
  grpc::ClientContext second;
  second.AddMetadata("x-recurve-tenant", "alice");
  const grpc::Status refused = Generate(request, &second).status;
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), AllOf(HasSubstr("tenant 'alice'"), HasSubstr("of 600;")));
  const auto& trailers = second.GetServerTrailingMetadata();
  const auto pushback = trailers.find("grpc-retry-pushback-ms");
  ASSERT_NE(pushback, trailers.end());
  const int milliseconds = std::stoi(std::string(pushback->second.data(), pushback->second.size()));
  EXPECT_GT(milliseconds, 0);  // 410 of 600 are missing, less what has come since
  EXPECT_LE(milliseconds, 41000);
  EXPECT_TRUE(second.GetServerInitialMetadata().empty());  // trailers alone, for retries
  EXPECT_EQ(
      MetricValue(MetricsPage(), "recurve_admission_rejections_total{reason=\"quota_tokens\"}"), 1);
  engine_->End(1, {});
  EXPECT_TRUE(ReadAll(reader.get()).status.ok());
}

TEST_F(SecurityTest, QuotasAreReloaded) {
  directory_.Write("access.json", R"({"quotas": {"*": {"requests": 0}}})");
  options_.access.file = Path("access.json");
  options_.access.reload_interval = Milliseconds(10);
  Start();
  EXPECT_EQ(Complete(NewChannel(), {}).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  directory_.Write("access.json", R"({"quotas": {"*": {"requests": 9}}})");
  while (!Complete(NewChannel(), {}).ok()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

class LogTest : public SecurityTest, public testing::WithParamInterface<bool> {};

TEST_P(LogTest, HasNoPromptUnlessAskedFor) {
  options_.log.format = LogFormat::kJson;
  options_.log.prompts = GetParam();
  UseTokens();
  Start();
  const auto channel = NewChannel();
  const auto call = [&](const v1::GenerateRequest& request, const Sent& sent) {
    grpc::ClientContext context;
    Fill(sent, &context);
    context.AddMetadata("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    v1::CompleteResponse response;
    const auto stub = v1::GenerationService::NewStub(channel);
    return stub->Complete(&context, request, &response).error_code();
  };
  const Sent alice{.authorization = "Bearer alice-1.s3cret"};
  v1::GenerateRequest request = TextRequest("the MARKER of a prompt");
  request.mutable_stop()->add_stop_strings("MARKER at the end");
  EXPECT_EQ(call(request, alice), grpc::StatusCode::OK);
  EXPECT_EQ(call(request, {}), grpc::StatusCode::UNAUTHENTICATED);
  request.mutable_stop()->add_stop_strings("MARKER " + std::string(kMaxStopStringBytes, 'x'));
  EXPECT_EQ(call(request, alice), grpc::StatusCode::INVALID_ARGUMENT);
  request.mutable_stop()->set_stop_strings(1, "");
  EXPECT_EQ(call(request, alice), grpc::StatusCode::INVALID_ARGUMENT);
  request.mutable_stop()->mutable_stop_strings()->Clear();
  request.mutable_sampling()->set_top_p(7);
  EXPECT_EQ(call(request, alice), grpc::StatusCode::INVALID_ARGUMENT);
  request = TextRequest("MARKER " + std::string(600, 'x'));
  call(request, alice);
  engine_->RefuseWith(absl::ResourceExhaustedError("queue full"));
  EXPECT_EQ(call(request, alice), grpc::StatusCode::RESOURCE_EXHAUSTED);
  {
    grpc::ClientContext context;
    Fill(alice, &context);
    v1::TokenizeRequest tokenize;
    tokenize.set_text("MARKER");
    v1::TokenizeResponse response;
    v1::GenerationService::NewStub(channel)->Tokenize(&context, tokenize, &response);
  }
  Stop();
  const std::vector<std::string> lines = LogLines();
  int marked = 0;
  for (const std::string& line : lines) {
    marked += line.find("MARKER") != line.npos;
    EXPECT_THAT(line, Not(HasSubstr("s3cret")));
  }
  EXPECT_EQ(marked, GetParam() ? 6 : 0);
  ASSERT_GE(lines.size(), 7U);
  EXPECT_THAT(lines[0], AllOf(HasSubstr("\"event\":\"request\""), HasSubstr("\"tenant\":\"alice\""),
                              HasSubstr("\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\""),
                              HasSubstr("\"generated_tokens\":1"), HasSubstr("\"total_ms\":")));
  EXPECT_THAT(lines[1],
              AllOf(HasSubstr("\"refused\":\"unauthenticated\""), Not(HasSubstr("MARKER"))));
}

INSTANTIATE_TEST_SUITE_P(Prompts, LogTest, testing::Bool());

}  // namespace
}  // namespace recurve
