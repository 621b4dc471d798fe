// SPDX-License-Identifier: Apache-2.0
#include "client/cli/prompt_text.h"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace recurve::client {
namespace {

// Bytes of the character that `text` begins with; 0 if it begins with none.
size_t CharacterBytes(std::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < bytes) return 0;
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const uint8_t second = byte(1);
  const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool surrogate = first == 0xED && second >= 0xA0;
  const bool beyond_unicode = first == 0xF4 && second >= 0x90;
  return overlong || surrogate || beyond_unicode ? 0 : bytes;
}

}  // namespace

size_t ValidUtf8Prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t bytes = CharacterBytes(text.substr(at));
    if (bytes == 0) break;
    at += bytes;
  }
  return at;
}

absl::Status CheckUtf8(std::string_view name, std::string_view text) {
  const size_t at = ValidUtf8Prefix(text);
  if (at == text.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%s is not UTF-8: the byte 0x%02X at offset %d is not part of a character; "
                      "convert it, for instance with iconv",
                      name, static_cast<uint8_t>(text[at]), at));
}

absl::StatusOr<std::string> CheckedUtf8(std::string_view name, std::string text) {
  if (absl::Status status = CheckUtf8(name, text); !status.ok()) return status;
  return text;
}

absl::StatusOr<std::string> ReadText(const std::string& path) {
  const bool standard = path == "-";
  const std::string name = standard ? "standard input" : absl::StrCat("file '", path, "'");
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(nullptr, &std::fclose);
  if (!standard) file.reset(std::fopen(path.c_str(), "rb"));
  std::FILE* const stream = standard ? stdin : file.get();
  std::string text;
  char buffer[1 << 16];
  while (stream != nullptr && std::feof(stream) == 0 && std::ferror(stream) == 0) {
    text.append(buffer, std::fread(buffer, 1, sizeof(buffer), stream));
  }
  if (stream == nullptr || std::ferror(stream) != 0) {
    return absl::NotFoundError(absl::StrCat("cannot read ", name, ": ", std::strerror(errno)));
  }
  return CheckedUtf8(name, std::move(text));
}

}  // namespace recurve::client
