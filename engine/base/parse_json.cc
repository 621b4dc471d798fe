// SPDX-License-Identifier: Apache-2.0
#include "engine/base/parse_json.h"

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/quotable.h"

namespace recurve {
namespace {

using Json = nlohmann::json;

// Sees what the parser meets. nlohmann goes on to report the names inside what has been left out,
// but not its ends: so nothing counts any more from the first value that is too deep.
class Watcher {
 public:
  explicit Watcher(int most_levels) : most_levels_(most_levels) {}

  // False: what begins here is left out. `depth`: how many arrays and objects are open around it.
  bool Keep(int depth, Json::parse_event_t event, const Json& value) {
    using Event = Json::parse_event_t;
    const bool begins = event == Event::object_start || event == Event::array_start;
    too_deep_ = too_deep_ || (begins && depth >= most_levels_);
    if (too_deep_) return false;
    if (event == Event::object_start) open_.emplace_back();
    if (event == Event::object_end) open_.pop_back();
    if (event == Event::key && !duplicate_) {
      const auto& name = value.get_ref<const std::string&>();
      if (!open_.back().insert(name).second) duplicate_ = name;
    }
    return true;
  }

  bool too_deep() const { return too_deep_; }
  const std::optional<std::string>& duplicate() const { return duplicate_; }

 private:
  const int most_levels_;
  std::vector<std::set<std::string>> open_;  // the names seen in each open object
  std::optional<std::string> duplicate_;
  bool too_deep_ = false;
};

}  // namespace

absl::StatusOr<Json> ParseJson(std::string_view text, int most_levels) {
  Watcher watcher(most_levels);
  Json value = Json::parse(
      text.begin(), text.end(),
      [&watcher](int depth, Json::parse_event_t event, const Json& parsed) {
        return watcher.Keep(depth, event, parsed);
      },
      /*allow_exceptions=*/false);
  if (watcher.too_deep()) {
    return absl::InvalidArgumentError(
        absl::StrCat("JSON nested deeper than ", most_levels, " levels"));
  }
  if (watcher.duplicate() && !value.is_discarded()) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quotable(*watcher.duplicate()), " is given twice in one object"));
  }
  return value;
}

}  // namespace recurve
