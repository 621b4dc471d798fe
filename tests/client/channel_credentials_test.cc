// SPDX-License-Identifier: Apache-2.0
// Which credentials a channel can be made of. Calls with them are tested against the server.
#include "client/channel_credentials.h"

#include "client/client.h"
#include "gmock/gmock.h"
#include "tests/scoped_directory.h"

namespace recurve::client {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(ChannelCredentialsTest, WhatGoesTogether) {
  EXPECT_TRUE(CheckCredentials({}).ok());
  EXPECT_TRUE(CheckCredentials({.tls_ca = "a"}).ok());
  EXPECT_TRUE(CheckCredentials({.tls_ca = "a", .tls_cert = "b", .tls_key = "c"}).ok());
  EXPECT_THAT(CheckCredentials({.tls_ca = "a", .tls_cert = "b"}).message(), HasSubstr("give both"));
  EXPECT_THAT(CheckCredentials({.tls_ca = "a", .tls_key = "b"}).message(), HasSubstr("give both"));
  EXPECT_THAT(CheckCredentials({.tls_cert = "b", .tls_key = "c"}).message(), HasSubstr("--tls_ca"));
  EXPECT_TRUE(CheckCredentials({.tls_cert = "b", .tls_key = "c"}, Transport::kHttps).ok());
}

// gRPC would abort the process for some of these.
TEST(ChannelCredentialsTest, TokensThatCannotBeSentAreRefusedAndNotRepeated) {
  EXPECT_TRUE(CheckCredentials({.token = "alice-1.s3cret"}).ok());
  for (const char* token :
       {"nodotinit", ".secret", "alice.", "alice.sec ret", "alice.sec\nret", "alice.s\xC3\xA9"}) {
    const absl::Status status = CheckCredentials({.token = token});
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << token;
    EXPECT_THAT(status.message(), HasSubstr("ID.SECRET"));
    EXPECT_THAT(status.message(), Not(HasSubstr(token)));
  }
}

// API keys of servers that are not ours have any form that a header can have.
TEST(ChannelCredentialsTest, HttpServersTakeTokensOfAnyForm) {
  for (const Transport transport : {Transport::kHttp, Transport::kHttps}) {
    EXPECT_TRUE(CheckCredentials({.token = "sk-nodotinit"}, transport).ok());
    for (const char* token : {"sk-a b", "sk-a\nb", "sk-\xC3\xA9"}) {
      const absl::Status status = CheckCredentials({.token = token}, transport);
      EXPECT_THAT(status.message(), HasSubstr("printable characters without blanks")) << token;
      EXPECT_THAT(status.message(), Not(HasSubstr(token)));
    }
  }
}

TEST(ChannelCredentialsTest, FilesAreNamedInErrors) {
  const ScopedDirectory directory;
  directory.Write("token", " alice.secret\n");
  directory.Write("blank", " \n");
  directory.Write("empty", "");
  directory.Write("pem", "-----BEGIN CERTIFICATE-----\n");
  const std::string& path = directory.path();
  EXPECT_EQ(*ReadTokenFile(path + "/token"), "alice.secret");
  EXPECT_TRUE(ReadPemFile(path + "/pem").ok());
  const auto message = [](const auto& result) { return std::string(result.status().message()); };
  EXPECT_THAT(message(ReadTokenFile(path + "/blank")), HasSubstr("/blank: the file is blank"));
  EXPECT_THAT(message(ReadTokenFile(path + "/empty")), HasSubstr("/empty: the file is empty"));
  EXPECT_THAT(message(ReadPemFile(path + "/token")), HasSubstr("/token is not PEM"));
  EXPECT_THAT(message(ReadPemFile(path + "/none")), HasSubstr("/none: No such file"));
}

}  // namespace
}  // namespace recurve::client
