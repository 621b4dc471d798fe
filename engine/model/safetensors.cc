// SPDX-License-Identifier: Apache-2.0
#include "engine/model/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/quotable.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

constexpr size_t kLengthBytes = 8;  // of the little-endian header length

absl::Status TensorError(std::string_view name, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("tensor ", Quotable(name), ": ", what));
}

std::optional<DataType> ParseDataType(absl::string_view text) {
  if (text == "F32") return DataType::kF32;
  if (text == "F16") return DataType::kF16;
  if (text == "BF16") return DataType::kBf16;
  if (text == "F64") return DataType::kF64;
  return std::nullopt;
}

// What the header says of one tensor.
struct Entry {
  StoredTensor tensor;  // without data
  bool has_type = false;
  bool has_shape = false;
  bool has_offsets = false;
  std::vector<uint64_t> offsets;  // two when complete
};

// Takes the header's JSON as events, so that a hostile one is refused where it leaves the format
// and nothing is built of it. One object: "__metadata__" with string values, else tensors.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<Entry> TakeEntries() { return std::move(entries_); }
  const absl::Status& status() const { return status_; }

  bool start_object(size_t /*size*/) override {
    switch (place_) {
      case Place::kStart:
        place_ = Place::kTop;
        return true;
      case Place::kTopValue:
        if (is_metadata_) {
          place_ = Place::kMetadata;
          return true;
        }
        entries_.emplace_back().tensor.name = name_;
        place_ = Place::kTensor;
        return true;
      default:
        return Refuse("an object");
    }
  }

  bool key(string_t& text) override {
    switch (place_) {
      case Place::kTop:
        if (!names_.insert(text).second) {
          return Fail(TensorError(text, "named twice in the header"));
        }
        name_ = text;
        is_metadata_ = text == "__metadata__";
        place_ = Place::kTopValue;
        return true;
      case Place::kTensor:
        return TensorKey(text);
      default:  // kMetadata: its keys have no meaning here
        return true;
    }
  }

  bool end_object() override {
    if (place_ == Place::kTensor) {
      const Entry& entry = entries_.back();
      if (!entry.has_type || !entry.has_shape || entry.offsets.size() != 2) {
        return Fail(TensorError(name_, "expected dtype, shape and two data_offsets"));
      }
    }
    place_ = place_ == Place::kTop ? Place::kEnd : Place::kTop;
    return true;
  }

  bool string(string_t& text) override {
    if (place_ == Place::kMetadata) return true;
    if (place_ != Place::kType) return Refuse("a string");
    const std::optional<DataType> type = ParseDataType(text);
    if (!type.has_value()) {
      return Fail(TensorError(
          name_, absl::StrCat("dtype is \"", Quotable(text), "\"; expected F32, F16 or BF16")));
    }
    entries_.back().tensor.type = *type;
    entries_.back().has_type = true;
    place_ = Place::kTensor;
    return true;
  }

  bool start_array(size_t /*size*/) override {
    if (place_ == Place::kShape) {
      place_ = Place::kShapeItem;
    } else if (place_ == Place::kOffsets) {
      place_ = Place::kOffsetsItem;
    } else {
      return Refuse("an array");
    }
    return true;
  }

  bool end_array() override {
    if (place_ == Place::kShapeItem) entries_.back().has_shape = true;
    if (place_ == Place::kOffsetsItem) entries_.back().has_offsets = true;
    place_ = Place::kTensor;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShapeItem) {
      std::vector<uint64_t>& shape = entries_.back().tensor.shape;
      if (shape.size() == kMaxSafetensorsRank) {
        return Fail(TensorError(
            name_, absl::StrCat("shape has more than ", kMaxSafetensorsRank, " dimensions")));
      }
      shape.push_back(value);
      return true;
    }
    if (place_ == Place::kOffsetsItem) {
      if (entries_.back().offsets.size() == 2) {
        return Fail(TensorError(name_, "data_offsets has more than two numbers"));
      }
      entries_.back().offsets.push_back(value);
      return true;
    }
    return Refuse("a number");
  }

  bool number_integer(number_integer_t value) override {
    return Refuse(absl::StrCat("the negative number ", value));
  }
  bool number_float(number_float_t /*value*/, const string_t& text) override {
    return Refuse(absl::StrCat("the number ", Quotable(text)));
  }
  bool null() override { return Refuse("null"); }
  bool boolean(bool /*value*/) override { return Refuse("a boolean"); }
  bool binary(binary_t& /*value*/) override { return Refuse("binary data"); }

  bool parse_error(size_t position, const std::string& /*token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    return Fail(absl::InvalidArgumentError(
        absl::StrCat("header is not valid JSON at byte ", kLengthBytes + position)));
  }

 private:
  // Where in the header the next event stands.
  enum class Place {
    kStart,
    kTop,
    kTopValue,
    kMetadata,
    kTensor,
    kType,
    kShape,
    kShapeItem,
    kOffsets,
    kOffsetsItem,
    kEnd
  };

  bool TensorKey(const std::string& text) {
    const Entry& entry = entries_.back();
    bool seen = false;
    if (text == "dtype") {
      seen = entry.has_type;
      place_ = Place::kType;
    } else if (text == "shape") {
      seen = entry.has_shape;
      place_ = Place::kShape;
    } else if (text == "data_offsets") {
      seen = entry.has_offsets;
      place_ = Place::kOffsets;
    } else {
      return Fail(TensorError(name_, absl::StrCat("unknown field \"", Quotable(text), "\"")));
    }
    return seen ? Fail(TensorError(name_, absl::StrCat(text, " given twice"))) : true;
  }

  bool Refuse(absl::string_view what) {
    const std::string place = name_.empty() ? std::string() : absl::StrCat(" at ", Quotable(name_));
    return Fail(absl::InvalidArgumentError(
        absl::StrCat("header holds ", what, place, ", which the format does not have there")));
  }

  bool Fail(absl::Status status) {
    status_ = std::move(status);
    return false;
  }

  Place place_ = Place::kStart;
  std::string name_;  // of the member that is being read
  bool is_metadata_ = false;
  std::unordered_set<std::string> names_;
  std::vector<Entry> entries_;
  absl::Status status_;
};

// Bytes that `tensor` must have; nullopt: more than 64 bits can say.
std::optional<uint64_t> ExpectedBytes(const StoredTensor& tensor) {
  uint64_t bytes = ElementSize(tensor.type);
  for (const uint64_t size : tensor.shape) {
    if (size != 0 && bytes > std::numeric_limits<uint64_t>::max() / size) return std::nullopt;
    bytes *= size;
  }
  return bytes;
}

// Checks the offsets against `data`, what follows the header, and points each tensor at its bytes.
absl::Status PlaceTensors(std::vector<Entry>& entries, std::span<const std::byte> data) {
  for (Entry& entry : entries) {
    const uint64_t begin = entry.offsets[0];
    const uint64_t end = entry.offsets[1];
    if (begin > end || end > data.size()) {
      return TensorError(entry.tensor.name,
                         absl::StrCat("data_offsets are [", begin, ", ", end,
                                      "]; expected an interval within the file's ", data.size(),
                                      " bytes of data"));
    }
    const std::optional<uint64_t> expected = ExpectedBytes(entry.tensor);
    if (!expected.has_value() || *expected != end - begin) {
      return TensorError(
          entry.tensor.name,
          absl::StrCat("data_offsets hold ", end - begin, " bytes; expected ",
                       expected.has_value() ? absl::StrCat(*expected) : "more than 2^64", " for ",
                       DataTypeName(entry.tensor.type), " [",
                       absl::StrJoin(entry.tensor.shape, ", "), "]"));
    }
    entry.tensor.data = data.subspan(begin, end - begin);
  }
  // Sorted by offsets the tensors must tile the data: no overlap, no hole, nothing behind the last.
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.offsets < b.offsets; });
  uint64_t tiled = 0;
  for (const Entry& entry : entries) {
    if (entry.offsets[0] != tiled) {
      return TensorError(entry.tensor.name,
                         absl::StrCat("data begins at ", entry.offsets[0], "; expected ", tiled,
                                      ", where the tensor before it ends"));
    }
    tiled = entry.offsets[1];
  }
  if (tiled != data.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the file holds ", data.size(),
                                                   " bytes of data; expected ", tiled,
                                                   ", the end of the last tensor"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::string_view DataTypeName(DataType type) {
  switch (type) {
    case DataType::kF32:
      return "f32";
    case DataType::kF16:
      return "f16";
    case DataType::kBf16:
      return "bf16";
    case DataType::kF64:
      return "f64";
  }
  return "";
}

absl::StatusOr<std::vector<StoredTensor>> ParseSafetensors(std::span<const std::byte> file) {
  if (file.size() < kLengthBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the file holds ", file.size(), " bytes; expected at least ", kLengthBytes));
  }
  uint64_t length = 0;  // little-endian, as every machine that the engine runs on
  std::memcpy(&length, file.data(), kLengthBytes);
  const uint64_t most = std::min<uint64_t>(kMaxSafetensorsHeader, file.size() - kLengthBytes);
  if (length > most) {
    return absl::InvalidArgumentError(absl::StrCat(
        "header length is ", length, "; expected at most ", most,
        most == kMaxSafetensorsHeader ? "" : ", the file's size: it may be truncated"));
  }
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
  if (!header.starts_with('{')) {
    return absl::InvalidArgumentError("header does not begin with {");
  }
  HeaderReader reader;
  if (!nlohmann::json::sax_parse(header.begin(), header.end(), &reader)) return reader.status();
  std::vector<Entry> entries = reader.TakeEntries();
  RETURN_IF_ERROR(PlaceTensors(entries, file.subspan(kLengthBytes + length)));
  std::vector<StoredTensor> tensors;
  tensors.reserve(entries.size());
  for (Entry& entry : entries) tensors.push_back(std::move(entry.tensor));
  return tensors;
}

}  // namespace recurve
