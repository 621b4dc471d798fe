// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BASE_PARSE_JSON_H_
#define RECURVE_ENGINE_BASE_PARSE_JSON_H_

#include <nlohmann/json.hpp>
#include <string_view>

#include "absl/status/statusor.h"

namespace recurve {

// A stranger's JSON; "discarded" where `text` is none (DescribeJsonError says why). InvalidArgument
// for a name given twice in one object, of which nlohmann's parser would keep the last, and for
// arrays and objects in each other on more than `most_levels` levels: they are copied, printed and
// destroyed recursively, so they would take as much stack as they are deep. Thread-safe.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, int most_levels);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_PARSE_JSON_H_
