// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/server_credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpcpp/grpcpp.h>

#include <string>

#include "engine/base/mutex.h"

namespace recurve {
namespace {

// What gRPC asks for certificates, before each handshake. gRPC's C++ API can only watch files by
// itself, with no say in when, nor in whether certificate and key belong together; that of its core
// asks.
class Fetcher {
 public:
  explicit Fetcher(const Credentials* credentials) : credentials_(credentials) {}

  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config) {
    return static_cast<Fetcher*>(self)->Fetch(config);
  }

 private:
  grpc_ssl_certificate_config_reload_status Fetch(grpc_ssl_server_certificate_config** config) {
    std::shared_ptr<const TlsIdentity> now = credentials_->tls();
    const MutexLock lock(mutex_);
    if (now == fetched_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const grpc_ssl_pem_key_cert_pair pair = {now->key.c_str(), now->cert_chain.c_str()};
    // gRPC wants authorities also where it asks clients for nothing.
    *config = grpc_ssl_server_certificate_config_create(now->client_ca.c_str(), &pair, 1);
    fetched_ = std::move(now);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const Credentials* const credentials_;
  Mutex mutex_;
  std::shared_ptr<const TlsIdentity> fetched_ ABSL_GUARDED_BY(mutex_);
};

grpc_server_credentials* MakeCore(const Credentials& credentials, Fetcher* fetcher) {
  const auto clients = credentials.asks_for_client_certificates()
                           ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                           : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
  return grpc_ssl_server_credentials_create_with_options(
      grpc_ssl_server_credentials_create_options_using_config_fetcher(clients, &Fetcher::Fetch,
                                                                      fetcher));
}

// Before the base class, which releases what it is given.
struct OwnsFetcher {
  std::unique_ptr<Fetcher> fetcher;
};

#ifdef RECURVE_GRPC_CREDENTIALS_OWN_CORE
// Later versions of gRPC.
class FetchingCredentials final : private OwnsFetcher, public grpc::ServerCredentials {
 public:
  FetchingCredentials(const Credentials& credentials, std::unique_ptr<Fetcher> made)
      : OwnsFetcher{std::move(made)},
        grpc::ServerCredentials(MakeCore(credentials, fetcher.get())) {}
};
#else
class FetchingCredentials final : private OwnsFetcher, public grpc::ServerCredentials {
 public:
  FetchingCredentials(const Credentials& credentials, std::unique_ptr<Fetcher> made)
      : OwnsFetcher{std::move(made)}, core_(MakeCore(credentials, fetcher.get())) {}
  ~FetchingCredentials() override { grpc_server_credentials_release(core_); }

  // Which nobody calls: calls are judged by Authenticator.
  void SetAuthMetadataProcessor(
      const std::shared_ptr<grpc::AuthMetadataProcessor>& /*processor*/) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), core_);
  }

  grpc_server_credentials* const core_;
};
#endif

}  // namespace

std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const Credentials* credentials) {
  if (credentials->tls() == nullptr) return grpc::InsecureServerCredentials();
  return std::make_shared<FetchingCredentials>(*credentials,
                                               std::make_unique<Fetcher>(credentials));
}

}  // namespace recurve
