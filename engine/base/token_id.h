// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BASE_TOKEN_ID_H_
#define RECURVE_ENGINE_BASE_TOKEN_ID_H_

#include <cstdint>
#include <limits>

namespace recurve {

// A token: its index in the model's vocabulary.
using TokenId = uint32_t;

inline constexpr TokenId kNoToken = std::numeric_limits<TokenId>::max();

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_TOKEN_ID_H_
