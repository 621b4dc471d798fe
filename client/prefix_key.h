// SPDX-License-Identifier: Apache-2.0
// What prompts that begin alike have in common, as a number: calls with the same one belong to the
// same replica, whose prefix cache has their beginning.
#ifndef RECURVE_CLIENT_PREFIX_KEY_H_
#define RECURVE_CLIENT_PREFIX_KEY_H_

#include <cstdint>
#include <string>

#include "recurve/v1/generation.pb.h"

namespace recurve::client {

// Metadata with the key, for proxies: they do not look into messages.
inline constexpr char kPrefixHeader[] = "x-recurve-prefix";

// Of a text that many bytes stand for a token.
inline constexpr uint32_t kBytesPerToken = 4;

// A hash of the prompt's first `tokens` token ids, or of a text's first kBytesPerToken * `tokens`
// bytes; of all of a shorter prompt. Never 0. A text and its ids have different ones.
uint64_t PrefixKey(const v1::GenerateRequest& request, uint32_t tokens);

// The key as the header has it: 16 hexadecimal digits.
std::string PrefixHeaderValue(uint64_t key);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_PREFIX_KEY_H_
