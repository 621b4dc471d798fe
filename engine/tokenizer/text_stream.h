// SPDX-License-Identifier: Apache-2.0
// The text of one stream of generated tokens, token by token, and the stop strings that end it.
#ifndef RECURVE_ENGINE_TOKENIZER_TEXT_STREAM_H_
#define RECURVE_ENGINE_TOKENIZER_TEXT_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/utf8.h"

namespace recurve {

// Finds the first of several strings in a text that arrives piece by piece (Aho-Corasick
// automaton).
class StopMatcher {
 public:
  // INVALID_ARGUMENT for a string that is empty or not valid UTF-8. Memory is proportional to the
  // length of all strings together; the caller limits it.
  static absl::StatusOr<StopMatcher> Create(std::span<const std::string> strings);

  StopMatcher() = default;  // no strings: never matches

  // Takes the next byte of the text; true if a string ends with it. Of several that end here the
  // longest is the match, so that no part of any of them is left before it; of equal strings the
  // first. Amortized time: proportional to the number of strings.
  bool Next(char byte);

  // As Next, for a byte at which a match does not count: the text goes on as if the strings that
  // end here had not been found.
  void Skip(char byte);

  // After Next returned true: the index of the string, and its length in bytes.
  size_t matched() const { return static_cast<size_t>(nodes_[state_].match); }
  size_t matched_length() const { return nodes_[nodes_[state_].match_node].depth; }

  // Length of the longest end of the text so far that a string begins with: all that must be held.
  size_t held() const { return nodes_.empty() ? 0 : nodes_[state_].depth; }

 private:
  struct Node {
    int32_t child = -1;  // the first of its children, linked by `sibling`
    int32_t sibling = -1;
    int32_t failure = 0;      // the longest proper end of this node's string that is a node too
    int32_t match = -1;       // index of the longest string that ends here; -1: none does
    int32_t match_node = -1;  // its node
    uint32_t depth = 0;
    char byte = 0;
  };

  int32_t Child(int32_t node, char byte) const;
  int32_t AddChild(int32_t node, char byte);
  void LinkFailures();
  void Step(char byte);

  std::vector<Node> nodes_;  // the first one is the root; empty without strings
  int32_t state_ = 0;
};

struct TextStreamOptions {
  bool skip_special_tokens = true;  // special tokens have no text
  std::vector<std::string> stop;    // each not empty, valid UTF-8
  bool include_stop = false;        // the text ends behind the stop string instead of before it
  // Index of the first token that may complete a stop string; one that an earlier token completes
  // is plain text.
  int64_t first_stop_token = 0;
};

// Releases tokens in order, each once and with the exact text that belongs to it, as soon as that
// is certain:
// - A character that spans several tokens belongs to the one that completes it. Bytes that can
// never
//   become a character are U+FFFD as in Tokenizer::Decode, and belong to the token that shows it;
//   at the end of the stream, to the last token that has some of them.
// - A token is held back while some of its bytes are part of an unfinished character, or some of
// its
//   text is the beginning of a stop string that may still come, or an earlier token is held.
// - The stop string that ends first stops the stream (the longest of those that end at one place).
//   Its text, unless included, and all text behind it is cut off: tokens before it are released
//   whole, the token that it begins in with the text before it, and tokens all of whose text is cut
//   off never.
// Without a stop the texts, one after another, are what Tokenizer::Decode gives for all the ids.
// Not thread-safe. The steady state allocates nothing.
class TextStream {
 public:
  struct Released {
    int64_t token;          // index in the order of Push, from 0
    std::string_view text;  // valid until the next call
  };

  // `tokenizer` must outlive the stream. INVALID_ARGUMENT for an empty or invalid stop string.
  static absl::StatusOr<TextStream> Create(const Tokenizer* tokenizer,
                                           const TextStreamOptions& options);

  // Adds the next token. The result is valid until the next call. Not to be called once stopped or
  // finished.
  std::span<const Released> Push(TokenId id);

  // Ends a stream that has not stopped: releases all that was held (or finds, in the U+FFFD of an
  // unfinished character, a stop string after all). The result is valid until the next call.
  std::span<const Released> Finish();

  // True once a stop string was found; every token that ever will be is then released.
  bool stopped() const { return stopped_; }
  size_t stop_index() const { return stop_index_; }  // of the string found, in options.stop

  int64_t tokens() const { return tokens_; }  // pushed
  size_t held_tokens() const { return held_.size() - released_count_; }

 private:
  struct Held {
    int64_t token;
    size_t begin;  // its text is text_[begin, end)
    size_t end;
  };

  TextStream(const Tokenizer* tokenizer, const TextStreamOptions& options, StopMatcher matcher);

  void DropReleased();
  bool Match(size_t from);
  std::span<const Released> ReleaseUpTo(size_t certain, int64_t before_token);
  std::span<const Released> ReleaseCut();

  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  bool include_stop_;
  int64_t first_stop_token_;
  StopMatcher matcher_;
  Utf8Stream utf8_;
  std::string text_;        // of the tokens held and of those just released
  std::vector<Held> held_;  // in order; the first released_count_ were released by the last call
  std::vector<Released> released_;  // what the last call returned
  size_t released_count_ = 0;
  int64_t tokens_ = 0;
  int64_t open_from_ =
      0;  // with utf8_.pending() > 0: the first token with bytes of that character,
  int64_t open_last_ = 0;  // and the last
  bool stopped_ = false;
  size_t stop_index_ = 0;
  size_t cut_ = 0;  // when stopped: the text of the stream ends at text_[cut_]
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_TOKENIZER_TEXT_STREAM_H_
