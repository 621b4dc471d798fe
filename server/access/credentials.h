// SPDX-License-Identifier: Apache-2.0
// Certificates and access rules as of now: read when the server starts, and again whenever their
// files change.
#ifndef RECURVE_SERVER_ACCESS_CREDENTIALS_H_
#define RECURVE_SERVER_ACCESS_CREDENTIALS_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "server/access/access_rules.h"
#include "server/access/tls_identity.h"
#include "server/observe/log.h"
#include "server/observe/metrics.h"
#include "server/options.h"

namespace recurve {

// Thread-safe. Owns a thread that looks for changes every `reload_interval`, by the files'
// contents, so that it does not matter how they are replaced. What is new takes effect once all of
// it is good; until then what was there stays. Each change, good or bad, is one log line and counts
// once.
//
// A file that had tokens and has none any more counts as bad: it would let everybody in.
class Credentials {
 public:
  struct Listeners {
    std::function<void(std::shared_ptr<const AccessRules>)> rules;  // new ones
  };

  // InvalidArgument names the flag, the file and what is wrong. `log` and `metrics` must outlive
  // this. `now`: the wall clock, which certificates are held against.
  static absl::StatusOr<std::unique_ptr<Credentials>> Create(
      const TlsOptions& tls, const AccessOptions& access, Listeners listeners, Metrics* metrics,
      Log* log, std::function<WallTime()> now = std::chrono::system_clock::now);
  ~Credentials();

  // Looks for changes every so often, from now on; once.
  void StartWatching();

  // Looks for changes now.
  void Reload();

  // Null without --tls_cert. `client_ca` has `own_client`'s certificate in addition.
  std::shared_ptr<const TlsIdentity> tls() const;
  // Without --access_file: no tokens, no quotas.
  std::shared_ptr<const AccessRules> rules() const;
  // What the server shows when it calls itself.
  const CertificateAndKey& own_client() const { return own_client_; }
  bool asks_for_client_certificates() const { return !tls_options_.client_ca.empty(); }

 private:
  // What the files of one kind held when they were last judged.
  using Texts = std::vector<std::string>;

  Credentials(const TlsOptions& tls, const AccessOptions& access, Listeners listeners,
              Metrics* metrics, Log* log, std::function<WallTime()> now);
  absl::StatusOr<Texts> ReadTls() const;
  absl::StatusOr<Texts> ReadAccess() const;
  absl::Status TakeTls(const Texts& texts);
  absl::Status TakeAccess(const Texts& texts);
  void ReloadKind(const char* file, absl::StatusOr<Texts> (Credentials::*read)() const,
                  absl::Status (Credentials::*take)(const Texts&), std::string* judged);
  void Run();

  const TlsOptions tls_options_;
  const AccessOptions access_options_;
  const Listeners listeners_;
  Metrics* const metrics_;
  Log* const log_;
  const std::function<WallTime()> now_;
  CertificateAndKey own_client_;

  Mutex reload_mutex_;                                     // one at a time
  std::string judged_tls_ ABSL_GUARDED_BY(reload_mutex_);  // texts, or why they could not be read
  std::string judged_access_ ABSL_GUARDED_BY(reload_mutex_);

  mutable Mutex mutex_;
  std::shared_ptr<const TlsIdentity> tls_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const AccessRules> rules_ ABSL_GUARDED_BY(mutex_);
  CondVar stop_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;  // last: uses the rest
};

}  // namespace recurve

#endif  // RECURVE_SERVER_ACCESS_CREDENTIALS_H_
