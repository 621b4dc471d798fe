// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BASE_JSON_ERROR_H_
#define RECURVE_ENGINE_BASE_JSON_ERROR_H_

#include <string>
#include <string_view>

namespace recurve {

// Why `text` is not a JSON object, fit for the end of a message: where it stops being JSON and what
// stands there ("line 3, column 1: unexpected '}'; expected ..."), or what it is instead ("it is an
// array"). Lines and columns count from 1, columns in bytes. Parses the text again: for texts that
// have been refused.
std::string DescribeJsonError(std::string_view text);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_JSON_ERROR_H_
