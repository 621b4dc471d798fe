// SPDX-License-Identifier: Apache-2.0
#include "client/load/http_url.h"

#include <vector>

#include "gmock/gmock.h"

namespace recurve::client {
namespace {

using testing::ElementsAre;

TEST(HttpUrlTest, PartsAreFound) {
  const auto parts = [](const std::string& text) {
    const auto url = ParseHttpUrl(text);
    EXPECT_TRUE(url.ok()) << url.status();
    return url.ok() ? std::vector{url->host, url->port, url->path} : std::vector<std::string>();
  };
  EXPECT_THAT(parts("http://a"), ElementsAre("a", "80", ""));
  EXPECT_THAT(parts("http://a:8000/"), ElementsAre("a", "8000", ""));
  EXPECT_THAT(parts("http://[::1]:8000/x/v1"), ElementsAre("::1", "8000", "/x/v1"));
  EXPECT_THAT(parts("https://a"), ElementsAre("a", "443", ""));
  EXPECT_THAT(parts("https://[::1]:8000/v1"), ElementsAre("::1", "8000", "/v1"));
  EXPECT_TRUE(ParseHttpUrl("https://a")->is_https);
  EXPECT_FALSE(ParseHttpUrl("http://a")->is_https);
  for (const char* bad : {"a:80", "ftp://a", "https://", "http://", "http://a:x", "http://a:0",
                          "http://a:70000", "http://[::1", "http://[::1]8000"}) {
    EXPECT_FALSE(ParseHttpUrl(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace recurve::client
