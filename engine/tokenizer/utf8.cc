// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/utf8.h"

namespace recurve {

namespace {
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
}  // namespace

void AppendUtf8(char32_t code_point, std::string* out) {
  const auto put = [out](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

size_t FindInvalidUtf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
    const uint8_t lead = byte(0);
    if (lead < 0x80) {
      ++at;
      continue;
    }
    if (lead < 0xC2 || lead > 0xF4) return at;
    const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (text.size() - at < length) return at;
    const uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (byte(1) < low || byte(1) > high) return at;
    for (size_t i = 2; i < length; ++i) {
      if ((byte(i) & 0xC0) != 0x80) return at;
    }
    at += length;
  }
  return std::string_view::npos;
}

void Utf8Stream::Start(uint8_t lead, std::string* out) {
  if (lead < 0x80) {
    out->push_back(static_cast<char>(lead));
  } else if (lead < 0xC2 || lead > 0xF4) {
    out->append(kReplacement);
  } else {
    pending_[0] = static_cast<char>(lead);
    pending_size_ = 1;
    length_ = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    low_ = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    high_ = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  }
}

void Utf8Stream::Append(std::string_view bytes, std::string* out) {
  for (const char c : bytes) {
    const uint8_t byte = static_cast<uint8_t>(c);
    if (pending_size_ == 0) {
      Start(byte, out);
    } else if (byte < low_ || byte > high_) {
      out->append(kReplacement);
      pending_size_ = 0;
      Start(byte, out);
    } else {
      pending_[pending_size_++] = c;
      low_ = 0x80;
      high_ = 0xBF;
      if (pending_size_ == length_) {
        out->append(pending_, pending_size_);
        pending_size_ = 0;
      }
    }
  }
}

void Utf8Stream::Finish(std::string* out) {
  if (pending_size_ > 0) out->append(kReplacement);
  pending_size_ = 0;
}

}  // namespace recurve
