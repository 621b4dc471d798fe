// SPDX-License-Identifier: Apache-2.0
// Tokens: what a client shows a server that asks for one, and what the server keeps of it.
#ifndef RECURVE_CLIENT_CLI_TOKEN_H_
#define RECURVE_CLIENT_CLI_TOKEN_H_

#include <string>

#include "absl/status/statusor.h"

namespace recurve::client {

struct NewToken {
  std::string token;  // ID.SECRET, the client's
  std::string entry;  // of the access file: a JSON object with the secret's SHA-256 in its place
};

// The secret is 32 bytes of the system's random numbers, in URL-safe base64. InvalidArgument where
// a server would not take `id` or `tenant`.
absl::StatusOr<NewToken> MakeToken(const std::string& id, const std::string& tenant);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CLI_TOKEN_H_
