// SPDX-License-Identifier: Apache-2.0
#include "server/address.h"

#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Address Parsed(const std::string& text) {
  const auto address = ParseAddress(text);
  EXPECT_TRUE(address.ok()) << text << ": " << address.status();
  return address.value_or(Address());
}

std::string Error(const std::string& text) {
  const auto address = ParseAddress(text);
  EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(address.status().message());
}

TEST(AddressTest, IpAddressesAndNamesHaveHostAndPort) {
  EXPECT_EQ(Parsed("127.0.0.1:50051"), (Address{"127.0.0.1", 50051, ""}));
  EXPECT_EQ(Parsed("0.0.0.0:0"), (Address{"0.0.0.0", 0, ""}));
  EXPECT_EQ(Parsed("[::]:65535"), (Address{"::", 65535, ""}));
  EXPECT_EQ(Parsed("[fe80::1%eth0]:1"), (Address{"fe80::1%eth0", 1, ""}));
  EXPECT_EQ(Parsed("[::ffff:10.0.0.1]:1"), (Address{"::ffff:10.0.0.1", 1, ""}));
  EXPECT_EQ(Parsed("localhost:9090"), (Address{"localhost", 9090, ""}));
  EXPECT_EQ(Parsed("4f2a9c0b1d3e:80"), (Address{"4f2a9c0b1d3e", 80, ""}));
  EXPECT_EQ(Parsed("pod-0.recurve.svc:80"), (Address{"pod-0.recurve.svc", 80, ""}));
}

TEST(AddressTest, UnixSocketsHaveAPath) {
  EXPECT_EQ(Parsed("unix:/run/recurve.sock"), (Address{"", 0, "/run/recurve.sock"}));
  EXPECT_EQ(Parsed("unix:///run/recurve.sock"), (Address{"", 0, "/run/recurve.sock"}));
  EXPECT_TRUE(Parsed("unix:/run/a:b").is_unix());
  EXPECT_FALSE(Parsed("127.0.0.1:1").is_unix());
  EXPECT_EQ(Parsed("unix:/" + std::string(kMaxUnixPath - 1, 'x')).path.size(), kMaxUnixPath);
}

TEST(AddressTest, TextAndAddressAreTheSame) {
  for (const char* text : {"127.0.0.1:50051", "[::1]:0", "localhost:1", "unix:/run/recurve.sock"}) {
    EXPECT_EQ(Parsed(text).ToString(), text);
  }
}

TEST(AddressTest, WhatIsWrongIsSaidWithWhatIsRight) {
  const std::pair<const char*, const char*> kCases[] = {
      {"", "no port"},
      {"19193", "no port"},
      {"127.0.0.1", "no port"},
      {"localhost", "no port"},
      {"[::1]", "no port"},
      {"[::1]50051", "no port"},
      {"127.0.0.1:", "its port is ''"},
      {"127.0.0.1:99999", "its port is '99999'"},
      {"127.0.0.1:65536", "its port is '65536'"},
      {"127.0.0.1:http", "its port is 'http'"},
      {"127.0.0.1:-1", "its port is '-1'"},
      {"127.0.0.1:+1", "its port is '+1'"},
      {"127.0.0.1: 1", "its port is ' 1'"},
      {"127.0.0.1:0x50", "its port is '0x50'"},
      {"127.0.0.1:99999999999999999999", "its port is '99999999999999999999'"},
      {"[::1]:99999", "its port is '99999'"},
      {":50051", "no host"},
      {"*:50051", "'*' is neither"},
      {"::1:50051", "brackets"},
      {"ipv4:127.0.0.1:50051", "brackets"},
      {"dns:///localhost:50051", "brackets"},
      {"127.0.0.256:1", "'127.0.0.256' is neither"},
      {"127.1:1", "'127.1' is neither"},
      {"0x7f000001:1", "'0x7f000001' is neither"},
      {"2130706433:1", "'2130706433' is neither"},
      {"a b:1", "'a b' is neither"},
      {"-a:1", "'-a' is neither"},
      {"http//host:1", "'http//host' is neither"},
      {"[localhost]:1", "'localhost' is not an IPv6 address"},
      {"[127.0.0.1]:1", "'127.0.0.1' is not an IPv6 address"},
      {"[::1%]:1", "'::1%' is not an IPv6 address"},
      {"[::1:1", "'::1:1' is not an IPv6 address"},
      {"unix:", "absolute path"},
      {"unix:/", "absolute path"},
      {"unix:recurve.sock", "'recurve.sock' is not the absolute path"},
      {"unix://host/path", "'host/path' is not the absolute path"},
      {"unix-abstract:recurve", "its port is 'recurve'"},
  };
  for (const auto& [text, wrong] : kCases) {
    EXPECT_THAT(Error(text), AllOf(HasSubstr(wrong), HasSubstr("expected HOST:PORT"))) << text;
  }
  EXPECT_THAT(Error("unix:/" + std::string(kMaxUnixPath, 'x')),
              AllOf(HasSubstr("108 bytes"), HasSubstr("at most 107")));
  EXPECT_THAT(Error(std::string("unix:/a\0b", 9)), HasSubstr("zero byte"));
}

}  // namespace
}  // namespace recurve
