// SPDX-License-Identifier: Apache-2.0
// Early return on a failed absl::Status or absl::StatusOr.
#ifndef RECURVE_ENGINE_BASE_STATUS_MACROS_H_
#define RECURVE_ENGINE_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define RETURN_IF_ERROR(expression)                                     \
  do {                                                                  \
    if (absl::Status status_macro = (expression); !status_macro.ok()) { \
      return status_macro;                                              \
    }                                                                   \
  } while (false)

#define RECURVE_CONCAT_INNER(a, b) a##b
#define RECURVE_CONCAT(a, b) RECURVE_CONCAT_INNER(a, b)

// ASSIGN_OR_RETURN(auto value, StatusOrExpression()); declares or assigns `value`.
#define ASSIGN_OR_RETURN(left, expression) \
  ASSIGN_OR_RETURN_IMPL(RECURVE_CONCAT(statusor_macro_, __LINE__), left, expression)
// NOLINTBEGIN(bugprone-macro-parentheses): they name a declaration and what it initializes.
#define ASSIGN_OR_RETURN_IMPL(statusor, left, expression)  \
  auto statusor = (expression);                            \
  if (!statusor.ok()) return std::move(statusor).status(); \
  left = std::move(statusor).value()
// NOLINTEND(bugprone-macro-parentheses)

#endif  // RECURVE_ENGINE_BASE_STATUS_MACROS_H_
