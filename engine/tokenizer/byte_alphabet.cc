// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/byte_alphabet.h"

#include "engine/tokenizer/utf8.h"

namespace recurve {

const std::array<char32_t, 256>& ByteAlphabet() {
  static const std::array<char32_t, 256> alphabet = [] {
    std::array<char32_t, 256> result;
    char32_t next = 256;  // bytes that are not printable get the code points from 256 on
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
      result[byte] = printable ? byte : next++;
    }
    return result;
  }();
  return alphabet;
}

bool TokenBytes(std::string_view token, std::string* bytes) {
  static const std::array<int16_t, 512> byte_of = [] {
    std::array<int16_t, 512> result;
    result.fill(-1);
    for (int16_t byte = 0; byte < 256; ++byte) result[ByteAlphabet()[byte]] = byte;
    return result;
  }();
  bytes->clear();
  for (size_t at = 0; at < token.size();) {
    const CodePoint c = DecodeUtf8(token, at);
    if (c.value >= byte_of.size() || byte_of[c.value] < 0) {
      bytes->assign(token);
      return false;
    }
    bytes->push_back(static_cast<char>(byte_of[c.value]));
    at += c.length;
  }
  return true;
}

}  // namespace recurve
