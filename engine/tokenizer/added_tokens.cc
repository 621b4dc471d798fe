// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/added_tokens.h"

#include <algorithm>

#include "engine/tokenizer/unicode.h"
#include "engine/tokenizer/utf8.h"

namespace recurve {
namespace {

bool EndsWith(std::string_view text, CharacterClass wanted) {
  return !text.empty() && ClassesOf(DecodeUtf8(text, LastCharacter(text)).value) & wanted;
}

bool StartsWith(std::string_view text, CharacterClass wanted) {
  return !text.empty() && ClassesOf(DecodeUtf8(text, 0).value) & wanted;
}

}  // namespace

int32_t AddedTokenMatcher::Child(int32_t node, char byte) const {
  int32_t child = nodes_[node].child;
  while (child >= 0 && nodes_[child].byte != byte) child = nodes_[child].sibling;
  return child;
}

bool AddedTokenMatcher::Add(std::string_view pattern, const AddedToken& token) {
  const auto new_node = [this](char byte, int32_t sibling) {
    nodes_.push_back({.child = -1, .sibling = sibling, .token = -1, .byte = byte});
    return static_cast<int32_t>(nodes_.size() - 1);
  };
  int32_t& root = roots_[static_cast<uint8_t>(pattern[0])];
  if (root < 0) root = new_node(pattern[0], -1);
  int32_t node = root;
  for (const char byte : pattern.substr(1)) {
    int32_t next = Child(node, byte);
    if (next < 0) {
      next = new_node(byte, nodes_[node].child);
      nodes_[node].child = next;
    }
    node = next;
  }
  if (nodes_[node].token >= 0) return false;
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  tokens_.push_back({token.id, token.single_word, token.lstrip, token.rstrip});
  return true;
}

int32_t AddedTokenMatcher::LongestAt(std::string_view text, size_t at, size_t* end) const {
  int32_t longest = -1;
  int32_t node = roots_[static_cast<uint8_t>(text[at])];
  while (node >= 0) {
    ++at;
    if (nodes_[node].token >= 0) {
      longest = nodes_[node].token;
      *end = at;
    }
    node = at < text.size() ? Child(node, text[at]) : -1;
  }
  return longest;
}

bool AddedTokenMatcher::Split(std::string_view text,
                              absl::FunctionRef<bool(const Piece&)> take) const {
  size_t done = 0;       // text before it was handed out
  size_t space_end = 0;  // where the white space that rstrip looked at last ends
  for (size_t at = 0; at < text.size();) {
    size_t match_end = 0;
    const int32_t found = LongestAt(text, at, &match_end);
    if (found < 0) {
      ++at;
      continue;
    }
    const Token& token = tokens_[found];
    size_t begin = at;
    size_t end = match_end;
    at = match_end;
    if (token.single_word &&
        (EndsWith(text.substr(0, begin), kWordChar) || StartsWith(text.substr(end), kWordChar))) {
      continue;
    }
    if (token.lstrip) {
      while (begin > done && EndsWith(text.substr(0, begin), kSpace)) {
        begin = LastCharacter(text.substr(0, begin));
      }
      begin = std::max(begin, done);
    }
    if (token.rstrip) {
      // Matches of white space may follow each other: each run is scanned once.
      end = std::max(end, space_end);
      while (StartsWith(text.substr(end), kSpace)) end += DecodeUtf8(text, end).length;
      space_end = end;
    }
    if (done < begin && !take({text.substr(done, begin - done), kNoToken})) return false;
    // White space that an rstrip token before has taken can hold a whole match of its own. As in
    // `tokenizers` it then counts again; where the bounds would be inverted, `tokenizers` fails and
    // we find nothing.
    if (begin < end && !take({text.substr(begin, end - begin), token.id})) return false;
    done = end;
  }
  return done == text.size() || take({text.substr(done), kNoToken});
}

}  // namespace recurve
