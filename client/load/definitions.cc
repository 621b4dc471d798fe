// SPDX-License-Identifier: Apache-2.0
#include "client/load/definitions.h"

#include "absl/strings/str_cat.h"

namespace recurve::client {

std::string DefinitionsText() {
  std::string text;
  for (const Definition& definition : kDefinitions) {
    absl::StrAppend(&text, definition.name, ": ", definition.text, "\n");
  }
  return text;
}

}  // namespace recurve::client
