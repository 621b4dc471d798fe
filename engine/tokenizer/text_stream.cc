// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/text_stream.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace recurve {

absl::StatusOr<StopMatcher> StopMatcher::Create(std::span<const std::string> strings) {
  StopMatcher matcher;
  if (strings.empty()) return matcher;
  matcher.nodes_.emplace_back();
  for (size_t i = 0; i < strings.size(); ++i) {
    const std::string& text = strings[i];
    if (text.empty() || FindInvalidUtf8(text) != text.npos) {
      return absl::InvalidArgumentError(absl::StrCat(
          "stop[", i, "] is ", text.empty() ? "empty" : "not valid UTF-8", ", expected text"));
    }
    int32_t node = 0;
    for (const char byte : text) {
      const int32_t child = matcher.Child(node, byte);
      node = child >= 0 ? child : matcher.AddChild(node, byte);
    }
    if (matcher.nodes_[node].match >= 0) continue;  // equal to an earlier one
    matcher.nodes_[node].match = static_cast<int32_t>(i);
    matcher.nodes_[node].match_node = node;
  }
  matcher.LinkFailures();
  return matcher;
}

int32_t StopMatcher::Child(int32_t node, char byte) const {
  int32_t child = nodes_[node].child;
  while (child >= 0 && nodes_[child].byte != byte) child = nodes_[child].sibling;
  return child;
}

int32_t StopMatcher::AddChild(int32_t node, char byte) {
  const int32_t added = static_cast<int32_t>(nodes_.size());
  Node child;
  child.byte = byte;
  child.depth = nodes_[node].depth + 1;
  child.sibling = nodes_[node].child;
  nodes_[node].child = added;
  nodes_.push_back(child);
  return added;
}

void StopMatcher::LinkFailures() {
  std::vector<int32_t> queue = {0};  // breadth first: failures are of lower depth
  for (size_t i = 0; i < queue.size(); ++i) {
    const int32_t parent = queue[i];
    for (int32_t node = nodes_[parent].child; node >= 0; node = nodes_[node].sibling) {
      queue.push_back(node);
      if (parent == 0) continue;
      int32_t failure = nodes_[parent].failure;
      while (failure != 0 && Child(failure, nodes_[node].byte) < 0)
        failure = nodes_[failure].failure;
      nodes_[node].failure = std::max(Child(failure, nodes_[node].byte), 0);
      if (nodes_[node].match < 0) {
        nodes_[node].match = nodes_[nodes_[node].failure].match;
        nodes_[node].match_node = nodes_[nodes_[node].failure].match_node;
      }
    }
  }
}

void StopMatcher::Step(char byte) {
  int32_t child = Child(state_, byte);
  while (child < 0 && state_ != 0) {
    state_ = nodes_[state_].failure;
    child = Child(state_, byte);
  }
  state_ = std::max(child, 0);
}

bool StopMatcher::Next(char byte) {
  if (nodes_.empty()) return false;
  Step(byte);
  return nodes_[state_].match >= 0;
}

void StopMatcher::Skip(char byte) {
  if (nodes_.empty()) return;
  Step(byte);
  // A whole string that no other one continues must not be held.
  while (state_ != 0 && nodes_[state_].child < 0) state_ = nodes_[state_].failure;
}

absl::StatusOr<TextStream> TextStream::Create(const Tokenizer* tokenizer,
                                              const TextStreamOptions& options) {
  ASSIGN_OR_RETURN(StopMatcher matcher, StopMatcher::Create(options.stop));
  return TextStream(tokenizer, options, std::move(matcher));
}

TextStream::TextStream(const Tokenizer* tokenizer, const TextStreamOptions& options,
                       StopMatcher matcher)
    : tokenizer_(tokenizer),
      skip_special_tokens_(options.skip_special_tokens),
      include_stop_(options.include_stop),
      first_stop_token_(options.first_stop_token),
      matcher_(std::move(matcher)) {
  // More than most streams ever hold.
  constexpr size_t kTokens = 8;
  constexpr size_t kTextBytes = 128;
  held_.reserve(kTokens);
  released_.reserve(kTokens);
  text_.reserve(kTextBytes);
}

void TextStream::DropReleased() {
  const size_t done = released_count_ == 0 ? 0 : held_[released_count_ - 1].end;
  held_.erase(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(released_count_));
  for (Held& held : held_) {
    held.begin -= done;
    held.end -= done;
  }
  text_.erase(0, done);
  released_.clear();
  released_count_ = 0;
}

// Looks for stop strings in text_[from, end), which the last token pushed has just completed. On a
// match sets stopped_ and where to cut.
bool TextStream::Match(size_t from) {
  const bool counts = tokens_ - 1 >= first_stop_token_;
  for (size_t at = from; at < text_.size(); ++at) {
    if (!counts) {
      matcher_.Skip(text_[at]);
    } else if (matcher_.Next(text_[at])) {
      stopped_ = true;
      stop_index_ = matcher_.matched();
      cut_ = at + 1 - (include_stop_ ? 0 : matcher_.matched_length());
      return true;
    }
  }
  return false;
}

// Releases tokens in order while their text ends at text_[certain] or before and their index is
// below `before_token`.
std::span<const TextStream::Released> TextStream::ReleaseUpTo(size_t certain,
                                                              int64_t before_token) {
  const std::string_view text = text_;
  for (; released_count_ < held_.size(); ++released_count_) {
    const Held& held = held_[released_count_];
    if (held.end > certain || held.token >= before_token) break;
    released_.push_back({held.token, text.substr(held.begin, held.end - held.begin)});
  }
  return released_;
}

// After a match: all tokens whose text is not wholly cut off.
std::span<const TextStream::Released> TextStream::ReleaseCut() {
  const std::string_view text = text_;
  for (const Held& held : held_) {
    if (held.begin >= cut_ && held.end > cut_) break;
    released_.push_back(
        {held.token, text.substr(held.begin, std::min(held.end, cut_) - held.begin)});
  }
  held_.clear();
  return released_;
}

std::span<const TextStream::Released> TextStream::Push(TokenId id) {
  RECURVE_CHECK(!stopped_);
  DropReleased();
  const int64_t token = tokens_++;
  const size_t begin = text_.size();
  const bool silent = skip_special_tokens_ && tokenizer_->IsSpecial(id);
  const std::string_view bytes = silent ? std::string_view() : tokenizer_->IdToBytes(id);
  utf8_.Append(bytes, &text_);
  held_.push_back({token, begin, text_.size()});
  if (!bytes.empty()) {
    if (utf8_.pending() <= bytes.size()) open_from_ = token;
    open_last_ = token;
  }
  if (Match(begin)) return ReleaseCut();
  return ReleaseUpTo(text_.size() - matcher_.held(), utf8_.pending() > 0 ? open_from_ : tokens_);
}

std::span<const TextStream::Released> TextStream::Finish() {
  DropReleased();
  const size_t begin = text_.size();
  utf8_.Finish(&text_);
  const size_t added = text_.size() - begin;
  for (Held& held : held_) {  // tokens without bytes may follow the one that gets the U+FFFD
    if (added > 0 && held.token > open_last_) held.begin += added;
    if (added > 0 && held.token >= open_last_) held.end += added;
  }
  if (Match(begin)) return ReleaseCut();
  return ReleaseUpTo(text_.size(), tokens_);
}

}  // namespace recurve
