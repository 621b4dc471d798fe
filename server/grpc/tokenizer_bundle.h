// SPDX-License-Identifier: Apache-2.0
// The files of a model directory by which others tokenize as this server does, as one zip archive.
#ifndef RECURVE_SERVER_GRPC_TOKENIZER_BUNDLE_H_
#define RECURVE_SERVER_GRPC_TOKENIZER_BUNDLE_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace recurve {

struct TokenizerBundle {
  std::string zip;
  std::string sha256;  // of it, in hexadecimal
};

// Reads the files; NOT_FOUND if there is no tokenizer.json, which a model of token ids has not, and
// errors of ReadTextFile for what is there and cannot be read.
absl::StatusOr<TokenizerBundle> BundleTokenizer(const std::string& directory);

// An archive of files by their names, not compressed: what unpacks it needs no more than it must
// have. Names and all of it together must be below 64 KiB and 4 GiB.
std::string Zip(const std::vector<std::pair<std::string, std::string>>& files);

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_TOKENIZER_BUNDLE_H_
