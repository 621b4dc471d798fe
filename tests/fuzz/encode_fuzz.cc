// SPDX-License-Identifier: Apache-2.0
// Text to ids and back with fixed tokenizers. Input: text, or any bytes; behind a line "---" bytes
// that choose ids and stop strings for a stream.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/unicode.h"
#include "engine/tokenizer/utf8.h"
#include "tests/fuzz/fixed_tokenizers.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/stream_check.h"

namespace recurve {
namespace {

constexpr size_t kMostSlowText = 512;  // SlowEncode takes quadratic time
constexpr size_t kMostStops = 4;

// `bytes` as text: what is not UTF-8 becomes U+FFFD.
std::string Repair(std::string_view bytes) {
  std::string text;
  Utf8Stream stream;
  stream.Append(bytes, &text);
  stream.Finish(&text);
  RECURVE_CHECK(FindInvalidUtf8(text) == text.npos);
  RECURVE_CHECK(FindInvalidUtf8(bytes) != bytes.npos || text == bytes);
  return text;
}

void CheckNfc(const std::string& text) {
  const std::string normalized = NormalizeNfc(text);
  RECURVE_CHECK(FindInvalidUtf8(normalized) == normalized.npos);
  RECURVE_CHECK(NormalizeNfc(normalized) == normalized);
}

// That a bound below the number of ids, and no other, is noticed.
void CheckBounds(const Tokenizer& tokenizer, const std::string& text,
                 const std::vector<TokenId>& ids) {
  const size_t bounds[] = {0, ids.size() / 2, ids.size() - std::min<size_t>(ids.size(), 1),
                           ids.size()};
  for (const size_t bound : bounds) {
    const auto encoding = tokenizer.EncodeUpTo(bound, text, /*add_special_tokens=*/true);
    RECURVE_CHECK(encoding.ok() && encoding->is_whole == (bound == ids.size()));
    RECURVE_CHECK(encoding->ids == (encoding->is_whole ? ids : std::vector<TokenId>()));
  }
  const auto most = tokenizer.MostBytes(static_cast<uint32_t>(ids.size()));
  RECURVE_CHECK(most.has_value() && text.size() <= *most);
}

void CheckEncode(const FixedTokenizer& fixed, const std::string& text) {
  const auto ids = fixed.tokenizer->Encode(text, /*add_special_tokens=*/true);
  RECURVE_CHECK(ids.ok());
  RECURVE_CHECK(fixed.tokenizer->Decode(*ids, false) == (fixed.nfc ? NormalizeNfc(text) : text));
  if (text.size() <= kMostSlowText) RECURVE_CHECK(*ids == fixed.SlowEncode(text));
  CheckBounds(*fixed.tokenizer, text, *ids);
  CheckTextStream(*fixed.tokenizer, *ids, TextStreamOptions());
}

void CheckAddedTokens(const Tokenizer& tokenizer, const std::string& text) {
  const auto ids = tokenizer.Encode(text, /*add_special_tokens=*/false);
  const auto with_special = tokenizer.Encode(text, /*add_special_tokens=*/true);
  RECURVE_CHECK(ids.ok() && with_special.ok());
  RECURVE_CHECK(with_special->size() == ids->size() + 1 &&
                tokenizer.IsSpecial(with_special->front()));
  RECURVE_CHECK(std::equal(ids->begin(), ids->end(), with_special->begin() + 1));
  RECURVE_CHECK(tokenizer.Decode(*ids, /*skip_special_tokens=*/false) == text);
  CheckBounds(tokenizer, text, *with_special);
}

// The first three bytes: include_stop, skip_special_tokens, first_stop_token;
// then stop strings, each ended by a bar; then ids.
void CheckChosenStream(const Tokenizer& tokenizer, std::string_view bytes) {
  if (bytes.size() < 3) return;
  TextStreamOptions options;
  options.include_stop = (bytes[0] & 1) != 0;
  options.skip_special_tokens = (bytes[1] & 1) != 0;
  options.first_stop_token = bytes[2] & 7;
  bytes.remove_prefix(3);
  while (options.stop.size() < kMostStops) {
    const size_t end = bytes.find('|');
    if (end == bytes.npos) break;
    const std::string stop = Repair(bytes.substr(0, end));
    if (!stop.empty()) options.stop.push_back(stop);
    bytes.remove_prefix(end + 1);
  }
  std::vector<TokenId> ids;
  for (size_t i = 0; i < bytes.size(); ++i) {
    // Most ids are single bytes; one behind 0xFE may be any.
    const bool any = bytes[i] == '\xFE' && i + 1 < bytes.size();
    if (any) ++i;
    ids.push_back((any ? 200 : 0) + static_cast<uint8_t>(bytes[i]));
  }
  CheckTextStream(tokenizer, ids, options);
}

void Check(std::string_view input) {
  static const std::vector<FixedTokenizer> kFixed = MakeFixedTokenizers();
  static const std::unique_ptr<Tokenizer> kWithAdded = MakeTokenizerWithAddedTokens();
  const auto [bytes, chosen] = SplitParts(input);
  if (FindInvalidUtf8(bytes) != bytes.npos) {
    CheckRefusal(kWithAdded->Encode(bytes, true).status());
  }
  const std::string text = Repair(bytes);
  CheckNfc(text);
  for (const FixedTokenizer& fixed : kFixed) CheckEncode(fixed, text);
  CheckAddedTokens(*kWithAdded, text);
  CheckChosenStream(*kWithAdded, chosen);
}

}  // namespace
}  // namespace recurve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  recurve::Check(recurve::AsText(data, size));
  return 0;
}
