// SPDX-License-Identifier: Apache-2.0
// Request ids for the log, and seeds for requests without one.
#ifndef RECURVE_SERVER_IDS_H_
#define RECURVE_SERVER_IDS_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace recurve {

inline constexpr size_t kMaxRequestIdBytes = 128;

// Whether `id` may stand in the log and be echoed: 1 to kMaxRequestIdBytes printable ASCII
// characters.
bool IsValidRequestId(std::string_view id);

// A new id: 16 hexadecimal digits.
std::string MakeRequestId();

// 64 random bits that no earlier call in this process returned. Thread-safe.
uint64_t RandomBits();

}  // namespace recurve

#endif  // RECURVE_SERVER_IDS_H_
