// SPDX-License-Identifier: Apache-2.0
// Prompts and replies that people and models have exchanged.
#ifndef RECURVE_CLIENT_LOAD_CONVERSATIONS_H_
#define RECURVE_CLIENT_LOAD_CONVERSATIONS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace recurve::client {

struct Exchange {
  std::string prompt, reply;
};

// The first exchange of each conversation of a file in ShareGPT's form: an array of objects whose
// `conversations` is an array of turns {"from", "value"}. Conversations that do not begin with a
// prompt and a reply to it are left out. InvalidArgument if that is all, or if it is no such file.
absl::StatusOr<std::vector<Exchange>> ParseShareGpt(const std::string& text);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_CONVERSATIONS_H_
