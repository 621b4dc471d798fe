// SPDX-License-Identifier: Apache-2.0
#include "server/access/tls_identity.h"

#include "gmock/gmock.h"
#include "tests/server/access/test_certificates.h"

namespace recurve {
namespace {

using testing::HasSubstr;

class TlsIdentityTest : public testing::Test {
 protected:
  // OK, or why not, with the part before it.
  std::string Check(const std::string& cert, const std::string& key, const std::string& ca = "") {
    TlsPart part = TlsPart::kCert;
    const auto identity = CheckTlsIdentity(cert, key, ca, std::chrono::system_clock::now(), &part);
    if (identity.ok()) return "OK";
    constexpr const char* kParts[] = {"cert ", "key ", "client_ca "};
    return kParts[static_cast<int>(part)] + std::string(identity.status().message());
  }

  const TestAuthority authority_;
  const CertificateAndKey good_ = authority_.Sign();
};

TEST_F(TlsIdentityTest, WhatIsWhole) {
  EXPECT_EQ(Check(good_.certificate, good_.key), "OK");
  EXPECT_EQ(Check(good_.certificate + authority_.certificate(), good_.key), "OK");
  EXPECT_EQ(Check(good_.certificate, good_.key, authority_.certificate()), "OK");
  EXPECT_EQ(Check("a comment\n" + good_.certificate, good_.key), "OK");
}

TEST_F(TlsIdentityTest, WhatIsNot) {
  const std::string torn = good_.certificate.substr(0, good_.certificate.size() / 2);
  EXPECT_EQ(Check("", good_.key), "cert has no certificate in PEM");
  EXPECT_EQ(Check("hello", good_.key), "cert has no certificate in PEM");
  EXPECT_THAT(Check(torn, good_.key),
              HasSubstr("cert has a certificate that cannot be read, after 0"));
  EXPECT_THAT(Check(good_.certificate + torn, good_.key), HasSubstr("after 1 good ones"));
  EXPECT_THAT(Check(good_.certificate, ""), HasSubstr("key has no private key in PEM"));
  EXPECT_THAT(Check(good_.certificate, good_.certificate), HasSubstr("key has no private key"));
  EXPECT_EQ(Check(good_.certificate, authority_.Sign().key),
            "key is not the key of the first certificate");
  EXPECT_EQ(Check(authority_.certificate() + good_.certificate, good_.key),
            "key is not the key of the first certificate");
  EXPECT_EQ(Check(good_.certificate, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"),
            "key is encrypted; give the key without password");
  EXPECT_EQ(Check(good_.certificate, good_.key, "none"), "client_ca has no certificate in PEM");
}

TEST_F(TlsIdentityTest, WhatIsOutOfDate) {
  const CertificateAndKey expired = authority_.Sign({.from_days = -9, .to_days = -2});
  const CertificateAndKey early = authority_.Sign({.from_days = 2, .to_days = 9});
  EXPECT_THAT(Check(expired.certificate, expired.key), HasSubstr("cert has expired at 20"));
  EXPECT_THAT(Check(early.certificate, early.key), HasSubstr("cert is not valid before 20"));
  EXPECT_THAT(Check(good_.certificate, good_.key, expired.certificate),
              HasSubstr("client_ca has expired at "));
  EXPECT_EQ(Check(good_.certificate, good_.key, expired.certificate + authority_.certificate()),
            "OK");
}

TEST_F(TlsIdentityTest, KnowsWhenItEnds) {
  const CertificateAndKey short_lived = authority_.Sign({.to_days = 5});
  TlsPart part;
  const WallTime now = std::chrono::system_clock::now();
  const auto identity = CheckTlsIdentity(short_lived.certificate, short_lived.key,
                                         authority_.certificate(), now, &part);
  ASSERT_TRUE(identity.ok()) << identity.status();
  const auto days = [now](WallTime time) {
    return std::chrono::duration<double>(time - now).count() / 86400;
  };
  EXPECT_NEAR(days(identity->cert_not_after), 5, 0.1);
  EXPECT_NEAR(days(*identity->client_ca_not_after), 30, 0.1);
}

TEST_F(TlsIdentityTest, TheOwnClientIsOneOfItsKind) {
  const auto own = MakeOwnClient(), other = MakeOwnClient();
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_EQ(Check(own->certificate, own->key, own->certificate), "OK");
  EXPECT_EQ(Check(own->certificate, other->key), "key is not the key of the first certificate");
}

}  // namespace
}  // namespace recurve
