// SPDX-License-Identifier: Apache-2.0
#include "client/load/http_url.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace recurve::client {

std::string HttpUrl::host_and_port() const {
  return absl::StrContains(host, ':') ? absl::StrCat("[", host, "]:", port)
                                      : absl::StrCat(host, ":", port);
}

absl::StatusOr<HttpUrl> ParseHttpUrl(const std::string& text) {
  const auto bad = [&text](const char* why) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' ", why, "; expected http[s]://HOST[:PORT][/PATH]"));
  };
  HttpUrl url;
  absl::string_view rest = text;
  url.is_https = absl::ConsumePrefix(&rest, "https://");
  if (!url.is_https && !absl::ConsumePrefix(&rest, "http://")) {
    return bad("does not begin with http:// or https://");
  }
  const size_t slash = rest.find('/');
  if (slash != absl::string_view::npos) url.path = std::string(rest.substr(slash));
  while (absl::EndsWith(url.path, "/")) url.path.pop_back();
  rest = rest.substr(0, slash);
  const bool is_v6 = absl::StartsWith(rest, "[");
  const size_t host_end = is_v6 ? rest.find(']') : rest.find(':');
  if (is_v6 && host_end == absl::string_view::npos) return bad("has a [ without a ]");
  url.host = std::string(is_v6 ? rest.substr(1, host_end - 1) : rest.substr(0, host_end));
  rest.remove_prefix(std::min(rest.size(), is_v6 ? host_end + 1 : host_end));
  uint32_t port = url.is_https ? 443 : 80;
  if (!rest.empty() && (!absl::ConsumePrefix(&rest, ":") || !absl::SimpleAtoi(rest, &port))) {
    return bad("has a port that is no number");
  }
  if (url.host.empty() || port == 0 || port > 65535) return bad("has no host, or no such port");
  url.port = absl::StrCat(port);
  return url;
}

}  // namespace recurve::client
