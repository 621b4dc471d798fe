// SPDX-License-Identifier: Apache-2.0
// Request ids and tenants as clients name them, and seeds for requests without one.
#ifndef RECURVE_SERVER_CALL_IDS_H_
#define RECURVE_SERVER_CALL_IDS_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace recurve {

// Whether a name of a client's choice may stand in the log and be echoed: 1 to `max_bytes`
// printable ASCII characters.
bool IsValidName(std::string_view name, size_t max_bytes);

// A new id: 16 hexadecimal digits.
std::string MakeRequestId();

// 64 random bits that no earlier call in this process returned. Thread-safe.
uint64_t RandomBits();

}  // namespace recurve

#endif  // RECURVE_SERVER_CALL_IDS_H_
