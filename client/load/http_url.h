// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_HTTP_URL_H_
#define RECURVE_CLIENT_LOAD_HTTP_URL_H_

#include <string>

#include "absl/status/statusor.h"

namespace recurve::client {

// "http[s]://HOST[:PORT][/PATH]", without a / at its end.
struct HttpUrl {
  bool is_https = false;
  std::string host, port, path;

  // As it stands in a URL, where IPv6 addresses are in brackets.
  std::string host_and_port() const;
};

absl::StatusOr<HttpUrl> ParseHttpUrl(const std::string& text);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_HTTP_URL_H_
