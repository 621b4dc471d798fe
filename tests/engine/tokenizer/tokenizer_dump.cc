// SPDX-License-Identifier: Apache-2.0
// Test tool for compare_tokenizers.py: encodes and decodes what standard input asks for.
//   tokenizer_dump TOKENIZER_JSON [IDS], as for a model that has so many ids
// Request: one byte, 'e' or 'E' to encode without or with special tokens, 'd' or 'D' to decode
// without or with special tokens skipped, 's' as 'd' but token by token through a TextStream; then
// the length of the payload as a 32-bit little-endian number; then the payload (text, or ids as
// 32-bit numbers). Response: the length and the payload of the result. Errors end the process.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "engine/tokenizer/text_stream.h"
#include "engine/tokenizer/tokenizer.h"

namespace {

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "tokenizer_dump: %s\n", message.c_str());
  std::exit(1);
}

bool Read(void* data, size_t size) { return std::fread(data, 1, size, stdin) == size; }

void Write(const void* data, size_t size) {
  const uint32_t length = static_cast<uint32_t>(size);
  if (std::fwrite(&length, 1, sizeof(length), stdout) != sizeof(length) ||
      std::fwrite(data, 1, size, stdout) != size || std::fflush(stdout) != 0) {
    Fail("cannot write");
  }
}

std::string StreamText(const recurve::Tokenizer& tokenizer, std::span<const recurve::TokenId> ids) {
  auto stream = recurve::TextStream::Create(&tokenizer, {.skip_special_tokens = false, .stop = {}});
  std::string text;
  for (const recurve::TokenId id : ids) {
    for (const auto& released : stream->Push(id)) text += released.text;
  }
  for (const auto& released : stream->Finish()) text += released.text;
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) Fail("usage: tokenizer_dump TOKENIZER_JSON [IDS]");
  const auto id_limit = static_cast<recurve::TokenId>(argc == 3 ? std::strtoul(argv[2], nullptr, 10)
                                                                : recurve::kMaxTokenId + 1);
  const auto tokenizer = recurve::Tokenizer::Load(argv[1], id_limit);
  if (!tokenizer.ok()) Fail(tokenizer.status().ToString());
  char operation;
  while (Read(&operation, 1)) {
    uint32_t length = 0;
    if (!Read(&length, sizeof(length))) Fail("request cut off");
    std::string payload(length, '\0');
    if (!Read(payload.data(), length)) Fail("request cut off");
    if (operation == 'e' || operation == 'E') {
      const auto ids = (*tokenizer)->Encode(payload, operation == 'E');
      if (!ids.ok()) Fail(ids.status().ToString());
      Write(ids->data(), ids->size() * sizeof(recurve::TokenId));
      continue;
    }
    std::vector<recurve::TokenId> ids(length / sizeof(recurve::TokenId));
    if (!ids.empty())
      std::memcpy(ids.data(), payload.data(), ids.size() * sizeof(recurve::TokenId));
    const std::string text = operation == 's' ? StreamText(**tokenizer, ids)
                                              : (*tokenizer)->Decode(ids, operation == 'D');
    Write(text.data(), text.size());
  }
  return 0;
}
