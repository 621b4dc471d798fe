// SPDX-License-Identifier: Apache-2.0
#include "engine/api/refusal.h"

#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace recurve {
namespace {

constexpr absl::string_view kPayload = "recurve/refusal";
constexpr char kSeparator = '\0';  // in no field's name and no text of ours

}  // namespace

absl::Status ToStatus(const Refusal& refusal) {
  absl::Status status = absl::InvalidArgumentError(
      absl::StrCat(refusal.field, " ", refusal.found, "; ", refusal.limit));
  const absl::string_view separator(&kSeparator, 1);
  status.SetPayload(kPayload, absl::Cord(absl::StrCat(refusal.field, separator, refusal.found,
                                                      separator, refusal.limit)));
  return status;
}

std::optional<Refusal> RefusalIn(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayload);
  if (!payload.has_value()) return std::nullopt;
  const std::vector<std::string> parts =
      absl::StrSplit(std::string(*payload), absl::MaxSplits(kSeparator, 2));
  return Refusal{parts[0], parts[1], parts[2]};
}

}  // namespace recurve
