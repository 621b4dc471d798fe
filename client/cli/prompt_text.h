// SPDX-License-Identifier: Apache-2.0
// Texts for a server, wherever they come from. The API's strings are UTF-8, and gRPC answers others
// without saying why.
#ifndef RECURVE_CLIENT_CLI_PROMPT_TEXT_H_
#define RECURVE_CLIENT_CLI_PROMPT_TEXT_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace recurve::client {

// Offset of the first byte that is not part of a UTF-8 character; the text's size if all are.
size_t ValidUtf8Prefix(std::string_view text);

// InvalidArgument says where `text`, which the message calls `name`, is not UTF-8.
absl::Status CheckUtf8(std::string_view name, std::string_view text);

// `text` itself if it is.
absl::StatusOr<std::string> CheckedUtf8(std::string_view name, std::string text);

// The UTF-8 content of the file `path`, or of standard input for "-". Errors name it.
absl::StatusOr<std::string> ReadText(const std::string& path);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_CLI_PROMPT_TEXT_H_
