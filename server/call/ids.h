// SPDX-License-Identifier: Apache-2.0
// Ids for calls, and seeds for requests, that have none.
#ifndef RECURVE_SERVER_CALL_IDS_H_
#define RECURVE_SERVER_CALL_IDS_H_

#include <cstdint>
#include <string>

namespace recurve {

// A new id: 16 hexadecimal digits.
std::string MakeRequestId();

// 64 random bits that no earlier call in this process returned. Thread-safe.
uint64_t RandomBits();

}  // namespace recurve

#endif  // RECURVE_SERVER_CALL_IDS_H_
