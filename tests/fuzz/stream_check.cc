// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/stream_check.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/check.h"
#include "engine/tokenizer/utf8.h"

namespace recurve {
namespace {

// The text of some tokens, and where in it the characters that each completes end.
struct PlainText {
  std::string text;
  std::vector<size_t> ends;  // [tokens]
};

PlainText PlainTextOf(const Tokenizer& tokenizer, std::span<const TokenId> ids, bool skip_special) {
  PlainText plain;
  Utf8Stream stream;
  for (const TokenId id : ids) {
    if (!skip_special || !tokenizer.IsSpecial(id)) {
      stream.Append(tokenizer.IdToBytes(id), &plain.text);
    }
    plain.ends.push_back(plain.text.size());
  }
  stream.Finish(&plain.text);
  return plain;
}

struct Cut {
  bool stopped = false;
  size_t size = 0;  // of the text that is left
  std::string_view stop;
};

// Tries every end, from the first on, and every stop string that ends there.
Cut FindCut(const PlainText& plain, const TextStreamOptions& options) {
  const std::string_view text = plain.text;
  for (size_t end = 1; end <= text.size(); ++end) {
    auto token = std::lower_bound(plain.ends.begin(), plain.ends.end(), end) - plain.ends.begin();
    token = std::min(token, std::ssize(plain.ends) - 1);  // the U+FFFD of Finish: the last token
    if (token < options.first_stop_token) continue;
    std::string_view longest;
    for (const std::string& stop : options.stop) {
      if (text.substr(0, end).ends_with(stop) && stop.size() > longest.size()) longest = stop;
    }
    if (longest.empty()) continue;
    return {true, options.include_stop ? end : end - longest.size(), longest};
  }
  return {false, text.size(), {}};
}

}  // namespace

void CheckTextStream(const Tokenizer& tokenizer, std::span<const TokenId> ids,
                     const TextStreamOptions& options) {
  const PlainText plain = PlainTextOf(tokenizer, ids, options.skip_special_tokens);
  RECURVE_CHECK(plain.text == tokenizer.Decode(ids, options.skip_special_tokens));
  RECURVE_CHECK(FindInvalidUtf8(plain.text) == std::string_view::npos);
  const Cut cut = FindCut(plain, options);

  auto stream = TextStream::Create(&tokenizer, options);
  RECURVE_CHECK(stream.ok());
  std::string text;
  int64_t next = 0;
  const auto take = [&](std::span<const TextStream::Released> released) {
    for (const TextStream::Released& token : released) {
      RECURVE_CHECK(token.token == next);
      RECURVE_CHECK(FindInvalidUtf8(token.text) == std::string_view::npos);
      ++next;
      text += token.text;
    }
    RECURVE_CHECK(text == std::string_view(plain.text).substr(0, text.size()));
    RECURVE_CHECK(text.size() <= cut.size);
  };
  int64_t pushed = 0;
  while (pushed < std::ssize(ids) && !stream->stopped()) {
    take(stream->Push(ids[pushed++]));
    RECURVE_CHECK(stream->tokens() == pushed);
    if (!stream->stopped())
      RECURVE_CHECK(static_cast<int64_t>(stream->held_tokens()) == pushed - next);
  }
  if (!stream->stopped()) take(stream->Finish());
  RECURVE_CHECK(stream->stopped() == cut.stopped);
  RECURVE_CHECK(text.size() == cut.size);
  if (cut.stopped) {
    RECURVE_CHECK(options.stop[stream->stop_index()] == cut.stop);
  } else {
    RECURVE_CHECK(next == std::ssize(ids));
  }
}

}  // namespace recurve
