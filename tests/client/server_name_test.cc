// SPDX-License-Identifier: Apache-2.0
#include "client/server_name.h"

#include "gtest/gtest.h"
#include "tests/client/scoped_environment.h"

namespace recurve::client {
namespace {

TEST(ServerNameTest, SaysWhatIsSpokenThere) {
  for (const char* servers : {"a:1,b:1", "dns:///a:1", "unix:/https://", ""}) {
    EXPECT_EQ(TransportOf(servers), Transport::kGrpc) << servers;
  }
  EXPECT_EQ(TransportOf("http://a:1,http://b/https://"), Transport::kHttp);
  for (const char* servers : {"https://a", "https://a,http://b", "http://a:1,https://b"}) {
    EXPECT_EQ(TransportOf(servers), Transport::kHttps) << servers;
  }
}

TEST(ServerNameTest, KnowsWhatIsOnThisMachine) {
  for (const char* server : {"127.0.0.1:50051",
                             "127.8.9.10:1",
                             "127.1:1",
                             "localhost:50051",
                             "LocalHost",
                             "localhost.:1",
                             "api.localhost:1",
                             "[::1]:50051",
                             "::1",
                             "[::ffff:127.0.0.1]:1",
                             "0.0.0.0:50051",
                             "[::]:1",
                             "ipv4:127.0.0.1:1,127.0.0.1:2",
                             "ipv6:[::1]:1",
                             "dns:localhost:1",
                             "dns:///localhost:1",
                             "dns://8.8.8.8/127.0.0.1:1",
                             "unix:/run/recurve",
                             "unix:///run/recurve",
                             "unix-abstract:recurve"}) {
    EXPECT_TRUE(IsOnThisMachine(server)) << server;
  }
  for (const char* server : {"10.0.0.1:50051", "128.0.0.1:1", "localhost.example.com:1",
                             "notlocalhost:1", "127.example:1", "[fe80::1%lo]:1",
                             "ipv4:127.0.0.1:1,10.0.0.1:1", "dns://127.0.0.1/example.com:1",
                             "dns:///example.com", "gpu-1", "unix.example.com:1", "[::2]:1", ""}) {
    EXPECT_FALSE(IsOnThisMachine(server)) << server;
  }
}

TEST(ServerNameTest, NamesTheProxyInEffect) {
  const ScopedEnvironment environment(
      {"grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"});
  EXPECT_EQ(ProxyVariable("example.com:1"), std::nullopt);
  environment.Set("http_proxy", "http://proxy:3128");
  EXPECT_EQ(ProxyVariable("example.com:1"), "http_proxy");
  EXPECT_EQ(ProxyVariable("127.0.0.1:1"), std::nullopt);
  EXPECT_EQ(ProxyVariable("http://example.com:1"), std::nullopt);
  EXPECT_EQ(ProxyVariable("https://example.com"), std::nullopt);
  environment.Set("https_proxy", "http://proxy:3129");
  EXPECT_EQ(ProxyVariable("example.com:1"), "https_proxy");
  environment.Set("grpc_proxy", "http://proxy:3130");
  EXPECT_EQ(ProxyVariable("dns:///example.com:1"), "grpc_proxy");
  environment.Set("no_proxy", "elsewhere, .COM");
  EXPECT_EQ(ProxyVariable("dns:///example.com:1"), std::nullopt);
  EXPECT_EQ(ProxyVariable("example.org:1"), "grpc_proxy");
}

}  // namespace
}  // namespace recurve::client
