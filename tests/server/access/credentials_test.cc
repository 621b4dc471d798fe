// SPDX-License-Identifier: Apache-2.0
#include "server/access/credentials.h"

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "server/access/tokens.h"
#include "tests/scoped_directory.h"
#include "tests/server/access/test_certificates.h"

namespace recurve {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kQuotas[] = R"({"quotas": {"*": {"requests": 2}}})";

class CredentialsTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }
  void Write(const CertificateAndKey& pair) {
    directory_.Write("cert.pem", pair.certificate);
    directory_.Write("key.pem", pair.key);
  }
  absl::Status Create(bool tls, bool client_ca, bool access) {
    TlsOptions tls_options;
    if (tls) tls_options = {Path("cert.pem"), Path("key.pem"), client_ca ? Path("ca.pem") : ""};
    AccessOptions access_options;
    if (access) access_options.file = Path("access.json");
    auto made = Credentials::Create(
        tls_options, access_options,
        {.rules = [this](auto rules) { told_.push_back(std::move(rules)); }}, &metrics_, &log_,
        [this] { return std::chrono::system_clock::now() + later_; });
    absl::Status status = made.status();
    if (status.ok()) credentials_ = *std::move(made);
    return status;
  }
  std::string LogText() {
    log_.Flush();
    std::string text(1 << 16, '\0');
    text.resize(static_cast<size_t>(pread(fileno(log_file_.get()), text.data(), text.size(), 0)));
    return text;
  }
  std::string Metric(const std::string& series) {
    const std::string page =
        prometheus::TextSerializer().Serialize(metrics_.collectable()->Collect());
    const size_t at = page.find(series + " ");
    if (at == page.npos) return "none";
    const size_t begin = at + series.size() + 1;
    return page.substr(begin, page.find('\n', begin) - begin);
  }
  std::string Reloads(const std::string& file, const std::string& result) {
    return Metric(absl::StrCat("recurve_credential_reloads_total{file=\"", file, "\",result=\"",
                               result, "\"}"));
  }
  static std::string TokenFile(const std::string& secret) {
    const Sha256 hash = Sha256Of(secret);
    return absl::StrCat(R"({"tokens": [{"id": "a", "tenant": "alice", "sha256": ")",
                        absl::BytesToHexString(absl::string_view(
                            reinterpret_cast<const char*>(hash.data()), hash.size())),
                        R"("}]})");
  }

  const ScopedDirectory directory_;
  const TestAuthority authority_;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> log_file_{std::tmpfile(), &std::fclose};
  Log log_{LogFormat::kText, fileno(log_file_.get())};
  Metrics metrics_;
  std::chrono::seconds later_{0};
  std::vector<std::shared_ptr<const AccessRules>> told_;
  std::unique_ptr<Credentials> credentials_;
};

TEST_F(CredentialsTest, WithoutFilesThereIsNothing) {
  ASSERT_TRUE(Create(false, false, false).ok());
  EXPECT_EQ(credentials_->tls(), nullptr);
  EXPECT_TRUE(credentials_->rules()->tokens.empty());
  credentials_->Reload();
  credentials_->StartWatching();
}

TEST_F(CredentialsTest, StartsWithGoodFilesAlone) {
  EXPECT_THAT(Create(true, false, false).message(),
              AllOf(HasSubstr("--tls_cert: "), HasSubstr("cert.pem: No such file")));
  Write(authority_.Sign());
  EXPECT_TRUE(Create(true, false, false).ok());
  EXPECT_NE(Metric("recurve_tls_certificate_not_after_timestamp_seconds{certificate=\"server\"}"),
            "0");
  EXPECT_THAT(Create(true, true, false).message(), HasSubstr("--tls_client_ca: "));
  directory_.Write("key.pem", authority_.Sign().key);
  EXPECT_THAT(Create(true, false, false).message(),
              AllOf(HasSubstr("--tls_key: "), HasSubstr("key.pem: is not the key of the first")));
  EXPECT_THAT(Create(false, false, true).message(),
              AllOf(HasSubstr("--access_file: "), HasSubstr("access.json: No such file")));
  directory_.Write("access.json", "{");
  EXPECT_THAT(Create(false, false, true).message(), HasSubstr("access.json: it is not valid JSON"));
  directory_.Write("access.json", std::string(kMaxAccessFileBytes + 1, ' '));
  EXPECT_THAT(Create(false, false, true).message(), HasSubstr("has more than 4194304 bytes"));
  std::filesystem::remove(Path("access.json"));
  std::filesystem::create_directory(Path("access.json"));
  EXPECT_THAT(Create(false, false, true).message(), HasSubstr("is not a regular file"));
}

TEST_F(CredentialsTest, FlagsThatGoTogether) {
  const auto error = [this](const TlsOptions& tls) {
    return std::string(Credentials::Create(tls, {}, {}, &metrics_, &log_).status().message());
  };
  EXPECT_THAT(error({.cert = "/c", .key = "", .client_ca = ""}),
              HasSubstr("--tls_cert: /c: a certificate and its key go together"));
  EXPECT_THAT(error({.cert = "", .key = "/k", .client_ca = ""}), HasSubstr("--tls_key: /k: "));
  EXPECT_THAT(error({.cert = "", .key = "", .client_ca = "/a"}),
              HasSubstr("--tls_client_ca: /a: clients show"));
}

TEST_F(CredentialsTest, ClientAuthoritiesHaveTheOwnClientAdded) {
  Write(authority_.Sign());
  directory_.Write("ca.pem", authority_.certificate());
  ASSERT_TRUE(Create(true, true, false).ok());
  EXPECT_TRUE(credentials_->asks_for_client_certificates());
  EXPECT_THAT(credentials_->tls()->client_ca,
              AllOf(HasSubstr(authority_.certificate()),
                    HasSubstr(credentials_->own_client().certificate)));
}

TEST_F(CredentialsTest, ANewPairTakesEffectOnceItIsWhole) {
  const CertificateAndKey old = authority_.Sign(), fresh = authority_.Sign();
  Write(old);
  ASSERT_TRUE(Create(true, false, false).ok());
  credentials_->Reload();
  EXPECT_EQ(LogText(), "");
  directory_.Write("cert.pem", fresh.certificate);  // the key is still the old one
  credentials_->Reload();
  EXPECT_EQ(credentials_->tls()->cert_chain, old.certificate);
  EXPECT_THAT(LogText(), HasSubstr("key.pem: is not the key of the first certificate"));
  credentials_->Reload();
  credentials_->Reload();
  EXPECT_EQ(Reloads("tls", "error"), "1");  // said once
  directory_.Write("key.pem", fresh.key);
  credentials_->Reload();
  EXPECT_EQ(credentials_->tls()->cert_chain, fresh.certificate);
  EXPECT_EQ(credentials_->tls()->key, fresh.key);
  EXPECT_THAT(LogText(), HasSubstr(" credentials_reloaded file=tls"));
  EXPECT_EQ(Reloads("tls", "ok"), "1");
}

TEST_F(CredentialsTest, BrokenMissingAndExpiredFilesKeepWhatWasThere) {
  const CertificateAndKey old = authority_.Sign();
  Write(old);
  ASSERT_TRUE(Create(true, false, false).ok());
  directory_.Write("cert.pem", old.certificate.substr(0, 100));
  credentials_->Reload();
  std::filesystem::remove(Path("cert.pem"));
  credentials_->Reload();
  later_ = std::chrono::hours(24 * 10);
  Write(authority_.Sign({.to_days = 5}));
  credentials_->Reload();
  EXPECT_EQ(Reloads("tls", "error"), "3");
  EXPECT_THAT(LogText(), AllOf(HasSubstr("cannot be read"), HasSubstr("No such file"),
                               HasSubstr("has expired")));
  EXPECT_EQ(credentials_->tls()->cert_chain, old.certificate);
  Write(old);
  credentials_->Reload();
  EXPECT_EQ(Reloads("tls", "ok"), "1");
}

// As Kubernetes does it: files are links into a directory that a link names.
TEST_F(CredentialsTest, ALinkThatIsSwappedIsSeen) {
  const CertificateAndKey old = authority_.Sign(), fresh = authority_.Sign();
  directory_.Write("one/cert.pem", old.certificate);
  directory_.Write("one/key.pem", old.key);
  directory_.Write("two/cert.pem", fresh.certificate);
  directory_.Write("two/key.pem", fresh.key);
  std::filesystem::create_directory_symlink(Path("one"), Path("..data"));
  std::filesystem::create_symlink("..data/cert.pem", Path("cert.pem"));
  std::filesystem::create_symlink("..data/key.pem", Path("key.pem"));
  ASSERT_TRUE(Create(true, false, false).ok());
  std::filesystem::create_directory_symlink(Path("two"), Path("..new"));
  std::filesystem::rename(Path("..new"), Path("..data"));
  credentials_->Reload();
  EXPECT_EQ(credentials_->tls()->cert_chain, fresh.certificate);
  EXPECT_EQ(Reloads("tls", "error"), "0");
}

TEST_F(CredentialsTest, RulesAreReloadedAndABrokenFileKeepsThem) {
  directory_.Write("access.json", TokenFile("one"));
  ASSERT_TRUE(Create(false, false, true).ok());
  directory_.Write("access.json", TokenFile("two"));
  credentials_->Reload();
  EXPECT_EQ(credentials_->rules()->tokens.find("a")->second.secret, Sha256Of("two"));
  ASSERT_EQ(told_.size(), 2U);
  EXPECT_EQ(told_[1], credentials_->rules());
  for (const char* bad : {"{", "", kQuotas}) {
    directory_.Write("access.json", bad);
    credentials_->Reload();
  }
  EXPECT_EQ(Reloads("access", "ok"), "1");
  EXPECT_EQ(Reloads("access", "error"), "3");
  EXPECT_THAT(LogText(), HasSubstr("no tokens any more, which would let everybody in"));
  EXPECT_EQ(credentials_->rules()->tokens.size(), 1U);
  EXPECT_THAT(LogText(), Not(HasSubstr("two")));
}

TEST_F(CredentialsTest, WatchesByItself) {
  directory_.Write("access.json", kQuotas);
  AccessOptions options;
  options.file = Path("access.json");
  options.reload_interval = Milliseconds(10);
  auto made = Credentials::Create({}, options, {}, &metrics_, &log_);
  ASSERT_TRUE(made.ok());
  (*made)->StartWatching();
  directory_.Write("access.json", TokenFile("one"));
  while ((*made)->rules()->tokens.empty())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace
}  // namespace recurve
