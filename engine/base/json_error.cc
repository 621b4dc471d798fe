// SPDX-License-Identifier: Apache-2.0
#include "engine/base/json_error.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/base/quotable.h"

namespace recurve {
namespace {

using Json = nlohmann::json;

// Takes a text's JSON as events, to learn where it breaks and what its outermost value is.
class ErrorFinder final : public nlohmann::json_sax<Json> {
 public:
  // "": the text is one JSON value.
  const std::string& error() const { return error_; }
  size_t position() const { return position_; }  // bytes read when the error was met
  const std::string& outermost() const { return outermost_; }

  bool null() override { return Meet("null"); }
  bool boolean(bool /*value*/) override { return Meet("a boolean"); }
  bool number_integer(number_integer_t /*value*/) override { return Meet("a number"); }
  bool number_unsigned(number_unsigned_t /*value*/) override { return Meet("a number"); }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override {
    return Meet("a number");
  }
  bool string(string_t& /*value*/) override { return Meet("a string"); }
  bool binary(binary_t& /*value*/) override { return Meet("binary data"); }
  bool start_object(size_t /*size*/) override { return Meet("an object"); }
  bool key(string_t& /*value*/) override { return true; }
  bool end_object() override { return true; }
  bool start_array(size_t /*size*/) override { return Meet("an array"); }
  bool end_array() override { return true; }

  bool parse_error(size_t position, const std::string& /*token*/,
                   const nlohmann::detail::exception& error) override {
    position_ = position;
    // "[id] parse error at ...: syntax error while parsing value - unexpected ..."; of other errors
    // there is nothing but the message behind the id.
    const std::string_view text = error.what();
    const size_t detail = text.find(" - ");
    const size_t id = text.find("] ");
    error_ = text.substr(detail != text.npos ? detail + 3 : id != text.npos ? id + 2 : 0);
    return false;
  }

 private:
  bool Meet(const char* value) {
    if (outermost_.empty()) outermost_ = value;
    return true;
  }

  std::string error_;
  size_t position_ = 0;
  std::string outermost_;
};

}  // namespace

std::string DescribeJsonError(std::string_view text) {
  if (text.empty()) return "it is empty";
  ErrorFinder finder;
  Json::sax_parse(text.begin(), text.end(), &finder);
  if (finder.error().empty()) return absl::StrCat("it is ", finder.outermost());
  // The last byte that was read is the one that does not fit; at the end there is none.
  const size_t at = std::min(std::max<size_t>(finder.position(), 1) - 1, text.size());
  const std::string_view before = text.substr(0, at);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t column = at - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
  // Quotes drive no terminal, and messages about JSON are full of them.
  const std::string error =
      absl::StrReplaceAll(Quotable(finder.error()), {{"\\'", "'"}, {"\\\"", "\""}});
  return absl::StrCat("line ", line, ", column ", column, ": ", error);
}

}  // namespace recurve
