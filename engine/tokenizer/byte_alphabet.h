// SPDX-License-Identifier: Apache-2.0
// How byte-level vocabularies write bytes: each value as one printable character (the alphabet of
// GPT-2). Pure functions, safe from any thread.
#ifndef RECURVE_ENGINE_TOKENIZER_BYTE_ALPHABET_H_
#define RECURVE_ENGINE_TOKENIZER_BYTE_ALPHABET_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace recurve {

// The character that stands for each byte value, below U+0200.
const std::array<char32_t, 256>& ByteAlphabet();

// The bytes that `token` stands for if it is written wholly in the byte alphabet (and returns
// true); else the token's own UTF-8, as `tokenizers` decodes it (and returns false). `token` is
// valid UTF-8.
bool TokenBytes(std::string_view token, std::string* bytes);

}  // namespace recurve

#endif  // RECURVE_ENGINE_TOKENIZER_BYTE_ALPHABET_H_
