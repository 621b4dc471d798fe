// SPDX-License-Identifier: Apache-2.0
// Which KV budget a request has.
#ifndef RECURVE_ENGINE_MAKE_BUDGET_H_
#define RECURVE_ENGINE_MAKE_BUDGET_H_

#include "absl/status/statusor.h"
#include "engine/api/options.h"
#include "engine/api/request.h"
#include "engine/kv/budget.h"
#include "engine/model/config.h"

namespace recurve {

// What `request` says of its budget over what the server's options say, as far as the model allows
// it. INVALID_ARGUMENT names the field and what was expected.
absl::StatusOr<KvBudget> MakeBudget(const EvictionOptions& options, const Request& request,
                                    const ModelConfig& config);

}  // namespace recurve

#endif  // RECURVE_ENGINE_MAKE_BUDGET_H_
