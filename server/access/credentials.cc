// SPDX-License-Identifier: Apache-2.0
#include "server/access/credentials.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/scoped_descriptor.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

constexpr uint64_t kMaxPemBytes = 1 << 20;
constexpr char kTlsFiles[] = "tls";
constexpr char kAccessFile[] = "access";

absl::Status OfFile(const char* flag, const std::string& path, const absl::Status& status) {
  return absl::InvalidArgumentError(absl::StrCat(flag, ": ", path, ": ", status.message()));
}

// Read, not mapped: whoever rewrites the file may shorten it meanwhile.
absl::StatusOr<std::string> ReadFor(const char* flag, const std::string& path, uint64_t max_bytes) {
  const auto bad = [&](const std::string& what) {
    return OfFile(flag, path, absl::InvalidArgumentError(what));
  };
  const ScopedDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat kind {};
  if (!file.valid() || fstat(file.get(), &kind) != 0) return bad(std::strerror(errno));
  if (!S_ISREG(kind.st_mode)) return bad("is not a regular file");
  std::string text;
  std::array<char, 16384> buffer;
  ssize_t size = 0;
  while ((size = read(file.get(), buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), static_cast<size_t>(size));
    if (text.size() > max_bytes) return bad(absl::StrCat("has more than ", max_bytes, " bytes"));
  }
  if (size < 0) return bad(std::strerror(errno));
  if (text.empty()) return bad("is empty");
  return text;
}

absl::Status CheckTogether(const TlsOptions& tls) {
  if (tls.cert.empty() != tls.key.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        tls.cert.empty() ? "--tls_key: " : "--tls_cert: ", tls.cert.empty() ? tls.key : tls.cert,
        ": a certificate and its key go together; give --tls_cert and --tls_key"));
  }
  if (tls.cert.empty() && !tls.client_ca.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--tls_client_ca: ", tls.client_ca,
                     ": clients show certificates to servers that have one; give --tls_cert too"));
  }
  return absl::OkStatus();
}

// Of contents, to tell whether they have changed.
std::string KeyOf(const absl::StatusOr<std::vector<std::string>>& texts) {
  if (!texts.ok()) return absl::StrCat("!", texts.status().message());
  std::string key;
  for (const std::string& text : *texts) absl::StrAppend(&key, text.size(), ":", text);
  return key;
}

}  // namespace

Credentials::Credentials(const TlsOptions& tls, const AccessOptions& access, Listeners listeners,
                         Metrics* metrics, Log* log, std::function<WallTime()> now)
    : tls_options_(tls),
      access_options_(access),
      listeners_(std::move(listeners)),
      metrics_(metrics),
      log_(log),
      now_(std::move(now)),
      rules_(std::make_shared<AccessRules>()) {}

absl::StatusOr<std::unique_ptr<Credentials>> Credentials::Create(const TlsOptions& tls,
                                                                 const AccessOptions& access,
                                                                 Listeners listeners,
                                                                 Metrics* metrics, Log* log,
                                                                 std::function<WallTime()> now) {
  RETURN_IF_ERROR(CheckTogether(tls));
  std::unique_ptr<Credentials> made(
      new Credentials(tls, access, std::move(listeners), metrics, log, std::move(now)));
  const MutexLock lock(made->reload_mutex_);
  if (!tls.cert.empty()) {
    ASSIGN_OR_RETURN(made->own_client_, MakeOwnClient());
    const auto texts = made->ReadTls();
    made->judged_tls_ = KeyOf(texts);
    RETURN_IF_ERROR(texts.status());
    RETURN_IF_ERROR(made->TakeTls(*texts));
  }
  if (!access.file.empty()) {
    const auto texts = made->ReadAccess();
    made->judged_access_ = KeyOf(texts);
    RETURN_IF_ERROR(texts.status());
    RETURN_IF_ERROR(made->TakeAccess(*texts));
  }
  return made;
}

Credentials::~Credentials() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  stop_.NotifyOne();
  if (thread_.joinable()) thread_.join();
}

void Credentials::StartWatching() {
  if (tls_options_.cert.empty() && access_options_.file.empty()) return;
  thread_ = std::thread([this] { Run(); });
}

void Credentials::Run() {
  MutexLock lock(mutex_);
  while (true) {
    const SteadyTime next = std::chrono::steady_clock::now() + access_options_.reload_interval;
    while (!stopping_ && stop_.WaitUntil(mutex_, next)) {
    }
    if (stopping_) return;
    lock.Unlock();
    Reload();
    lock.Lock();
  }
}

void Credentials::Reload() {
  const MutexLock lock(reload_mutex_);
  if (!tls_options_.cert.empty()) {
    ReloadKind(kTlsFiles, &Credentials::ReadTls, &Credentials::TakeTls, &judged_tls_);
  }
  if (!access_options_.file.empty()) {
    ReloadKind(kAccessFile, &Credentials::ReadAccess, &Credentials::TakeAccess, &judged_access_);
  }
}

void Credentials::ReloadKind(const char* file, absl::StatusOr<Texts> (Credentials::*read)() const,
                             absl::Status (Credentials::*take)(const Texts&), std::string* judged) {
  const auto texts = (this->*read)();
  std::string key = KeyOf(texts);
  if (key == *judged) return;
  // Files that were replaced one after the other, between our reading one and the next, are not
  // what anybody wrote: they are judged when they have come to rest.
  if (KeyOf((this->*read)()) != key) return;
  *judged = std::move(key);
  const absl::Status status = texts.ok() ? (this->*take)(*texts) : texts.status();
  metrics_->CountCredentialReload(file, status.ok());
  if (status.ok()) {
    log_->Write("credentials_reloaded", {{"file", std::string(file)}});
  } else {
    log_->Write("credentials_kept",
                {{"file", std::string(file)}, {"error", std::string(status.message())}});
  }
}

absl::StatusOr<Credentials::Texts> Credentials::ReadTls() const {
  Texts texts(3);
  ASSIGN_OR_RETURN(texts[0], ReadFor("--tls_cert", tls_options_.cert, kMaxPemBytes));
  ASSIGN_OR_RETURN(texts[1], ReadFor("--tls_key", tls_options_.key, kMaxPemBytes));
  if (tls_options_.client_ca.empty()) return texts;
  ASSIGN_OR_RETURN(texts[2], ReadFor("--tls_client_ca", tls_options_.client_ca, kMaxPemBytes));
  return texts;
}

absl::Status Credentials::TakeTls(const Texts& texts) {
  TlsPart part = TlsPart::kCert;
  auto identity = CheckTlsIdentity(texts[0], texts[1], texts[2], now_(), &part);
  if (!identity.ok()) {
    switch (part) {
      case TlsPart::kCert:
        return OfFile("--tls_cert", tls_options_.cert, identity.status());
      case TlsPart::kKey:
        return OfFile("--tls_key", tls_options_.key, identity.status());
      case TlsPart::kClientCa:
        return OfFile("--tls_client_ca", tls_options_.client_ca, identity.status());
    }
  }
  absl::StrAppend(&identity->client_ca, "\n", own_client_.certificate);
  metrics_->SetCertificateNotAfter(identity->cert_not_after, identity->client_ca_not_after);
  auto taken = std::make_shared<const TlsIdentity>(*std::move(identity));
  const MutexLock lock(mutex_);
  tls_ = std::move(taken);
  return absl::OkStatus();
}

absl::StatusOr<Credentials::Texts> Credentials::ReadAccess() const {
  Texts texts(1);
  ASSIGN_OR_RETURN(texts[0], ReadFor("--access_file", access_options_.file, kMaxAccessFileBytes));
  return texts;
}

absl::Status Credentials::TakeAccess(const Texts& texts) {
  auto rules = ParseAccessRules(texts[0]);
  if (rules.ok() && rules->tokens.empty() && !this->rules()->tokens.empty()) {
    rules = absl::InvalidArgumentError(
        "it has no tokens any more, which would let everybody in; start the server anew for that");
  }
  if (!rules.ok()) return OfFile("--access_file", access_options_.file, rules.status());
  auto taken = std::make_shared<const AccessRules>(*std::move(rules));
  {
    const MutexLock lock(mutex_);
    rules_ = taken;
  }
  if (listeners_.rules) listeners_.rules(taken);
  return absl::OkStatus();
}

std::shared_ptr<const TlsIdentity> Credentials::tls() const {
  const MutexLock lock(mutex_);
  return tls_;
}

std::shared_ptr<const AccessRules> Credentials::rules() const {
  const MutexLock lock(mutex_);
  return rules_;
}

}  // namespace recurve
