// SPDX-License-Identifier: Apache-2.0
// UTF-8: validation, decoding of valid text, and lossy decoding of a stream of arbitrary bytes.
#ifndef RECURVE_ENGINE_TOKENIZER_UTF8_H_
#define RECURVE_ENGINE_TOKENIZER_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace recurve {

struct CodePoint {
  char32_t value;
  uint32_t length;  // bytes, 1 to 4
};

// The character that begins at `text[at]`. `text` is valid UTF-8 and `at` one of its boundaries.
inline CodePoint DecodeUtf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) {
    return static_cast<uint32_t>(static_cast<uint8_t>(text[at + i]));
  };
  const uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F),
          4};
}

// Where the last character of `text` begins. `text` is valid UTF-8 and not empty.
inline size_t LastCharacter(std::string_view text) {
  size_t at = text.size() - 1;
  while ((static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

void AppendUtf8(char32_t code_point, std::string* out);

// Offset of the first byte that is not part of a valid UTF-8 character; npos if there is none.
size_t FindInvalidUtf8(std::string_view text);

// Turns bytes that arrive in pieces into valid UTF-8. Bytes that can never become a character are
// replaced by U+FFFD, one for each maximal prefix of a character ("maximal subpart", Unicode 3.9;
// as Rust's from_utf8_lossy). The output does not depend on how the bytes are cut into pieces.
class Utf8Stream {
 public:
  // Appends to `out` the text that is now certain; keeps back an incomplete character.
  void Append(std::string_view bytes, std::string* out);

  // Appends U+FFFD for an incomplete character, if there is one. Ready for a new stream afterwards.
  void Finish(std::string* out);

  // Bytes kept back, 0 to 3.
  size_t pending() const { return pending_size_; }

 private:
  void Start(uint8_t lead, std::string* out);

  char pending_[4] = {};  // [pending_size_]
  uint32_t pending_size_ = 0;
  uint32_t length_ = 0;  // of the character begun, in bytes
  uint8_t low_ = 0x80;   // bounds of the next byte
  uint8_t high_ = 0xBF;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_TOKENIZER_UTF8_H_
