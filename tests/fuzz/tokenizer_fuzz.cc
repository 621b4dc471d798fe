// SPDX-License-Identifier: Apache-2.0
// Tokenizer::Parse; and of what loads, encoding, decoding and streaming. Input: tokenizer.json, and
// behind a line "---" a text to encode.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/utf8.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/stream_check.h"

namespace recurve {
namespace {

constexpr size_t kMostText = 256;

std::vector<TokenId> CheckEncode(const Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.Encode(text, /*add_special_tokens=*/false);
  const auto with_special = tokenizer.Encode(text, /*add_special_tokens=*/true);
  if (FindInvalidUtf8(text) != text.npos) {
    CheckRefusal(ids.status());
    CheckRefusal(with_special.status());
    return {};
  }
  RECURVE_CHECK(ids.ok() && with_special.ok());
  RECURVE_CHECK(ids->size() <= with_special->size());
  for (const TokenId id : *with_special) RECURVE_CHECK(id < tokenizer.vocab_size());
  return *ids;
}

// Ids that need not come from a text: some of them without a token, some outside of the vocabulary.
std::vector<TokenId> ArbitraryIds(std::string_view bytes, uint32_t vocab_size) {
  std::vector<TokenId> ids;
  for (const char byte : bytes) {
    const auto value = static_cast<uint8_t>(byte);
    ids.push_back(value == 0xFF ? INT32_MAX : value % (vocab_size + 2) - 1);
  }
  return ids;
}

void CheckTokenizer(const Tokenizer& tokenizer, std::string_view text) {
  const std::vector<TokenId> encoded = CheckEncode(tokenizer, text);
  for (const std::vector<TokenId>& ids : {encoded, ArbitraryIds(text, tokenizer.vocab_size())}) {
    TextStreamOptions options;
    CheckTextStream(tokenizer, ids, options);
    options.skip_special_tokens = false;
    options.stop = {"a", "\xEF\xBF\xBD", "ab"};
    options.first_stop_token = static_cast<int64_t>(ids.size() / 4);
    CheckTextStream(tokenizer, ids, options);
  }
}

// At most one of what is left out and one of what is ignored, fit for a log.
void CheckWarnings(const Tokenizer& tokenizer) {
  RECURVE_CHECK(tokenizer.warnings().size() <= 2);
  for (const std::string& warning : tokenizer.warnings()) {
    CheckRefusal(absl::InvalidArgumentError(warning));
  }
}

}  // namespace
}  // namespace recurve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto [json, text] = recurve::SplitParts(recurve::AsText(data, size));
  const auto tokenizer = recurve::Tokenizer::Parse(json);
  if (!tokenizer.ok()) {
    recurve::CheckRefusal(tokenizer.status());
    return 0;
  }
  recurve::CheckTokenizer(**tokenizer, text.substr(0, recurve::kMostText));
  // For a model that lacks the last id: refused, or without the added token that has it.
  const recurve::TokenId id_limit = (*tokenizer)->vocab_size() - 1;
  const auto smaller = recurve::Tokenizer::Parse(json, id_limit);
  if (!smaller.ok()) {
    recurve::CheckRefusal(smaller.status());
    return 0;
  }
  recurve::CheckWarnings(**smaller);
  recurve::CheckTokenizer(**smaller, text.substr(0, recurve::kMostText));
  return 0;
}
