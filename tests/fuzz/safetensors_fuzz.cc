// SPDX-License-Identifier: Apache-2.0
// ParseSafetensors. Input: a whole file; or, if it begins with '{', a header followed by a line
// with the number of data bytes, from which a file with the right header length is made.
#include <cstring>
#include <set>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/model/safetensors.h"
#include "tests/fuzz/fuzz.h"

namespace recurve {
namespace {

constexpr uint32_t kMostData = 1 << 16;

std::string MakeFile(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file + header + std::string(data_bytes, 'x');
}

// The file that `input` describes.
std::string FileOf(std::string_view input) {
  if (!input.starts_with('{')) return std::string(input);
  const size_t line = input.rfind('\n');
  uint32_t data_bytes = 0;
  if (line == input.npos ||
      !absl::SimpleAtoi(absl::string_view(input.data() + line + 1, input.size() - line - 1),
                        &data_bytes)) {
    return MakeFile(std::string(input), 0);
  }
  return MakeFile(std::string(input.substr(0, line)), data_bytes % kMostData);
}

absl::StatusOr<std::vector<StoredTensor>> Parse(const std::string& file) {
  return ParseSafetensors(std::as_bytes(std::span(file)));
}

// The header that a writer would make for `tensors`, their data beginning at `base`.
std::string HeaderOf(const std::vector<StoredTensor>& tensors, const std::byte* base) {
  std::string header = "{";
  for (const StoredTensor& tensor : tensors) {
    const char* type = tensor.type == DataType::kF32   ? "F32"
                       : tensor.type == DataType::kF16 ? "F16"
                       : tensor.type == DataType::kF64 ? "F64"
                                                       : "BF16";
    const auto begin = static_cast<uint64_t>(tensor.data.data() - base);
    // Names are not written back as they are: JSON escapes are the reader's business.
    absl::StrAppend(&header, header.size() > 1 ? "," : "", "\"", begin, ".", tensor.data.size(),
                    ".", header.size(), R"(":{"dtype":")", type, R"(","shape":[)",
                    absl::StrJoin(tensor.shape, ","), R"(],"data_offsets":[)", begin, ",",
                    begin + tensor.data.size(), "]}");
  }
  return header + "}";
}

void CheckTensors(const std::string& file, const std::vector<StoredTensor>& tensors) {
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  RECURVE_CHECK(header_bytes <= file.size() - sizeof(header_bytes));
  const std::byte* base =
      std::as_bytes(std::span(file)).data() + sizeof(header_bytes) + header_bytes;
  const size_t data_bytes = file.size() - sizeof(header_bytes) - header_bytes;
  std::set<std::string_view> names;
  size_t total = 0;
  for (const StoredTensor& tensor : tensors) {
    RECURVE_CHECK(names.insert(tensor.name).second);
    RECURVE_CHECK(tensor.name != "__metadata__");
    RECURVE_CHECK(tensor.shape.size() <= kMaxSafetensorsRank);
    uint64_t bytes = ElementSize(tensor.type);
    for (const uint64_t size : tensor.shape) bytes *= size;
    RECURVE_CHECK(bytes == tensor.data.size());
    RECURVE_CHECK(tensor.data.data() >= base);
    RECURVE_CHECK(tensor.data.data() + bytes <= base + data_bytes);
    total += bytes;
  }
  RECURVE_CHECK(total == data_bytes);

  const std::string again = MakeFile(HeaderOf(tensors, base), data_bytes);
  const auto reparsed = Parse(again);
  RECURVE_CHECK(reparsed.ok());
  RECURVE_CHECK(reparsed->size() == tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    RECURVE_CHECK((*reparsed)[i].type == tensors[i].type);
    RECURVE_CHECK((*reparsed)[i].data.size() == tensors[i].data.size());
  }
}

}  // namespace
}  // namespace recurve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string file = recurve::FileOf(recurve::AsText(data, size));
  const auto tensors = recurve::Parse(file);
  if (tensors.ok()) {
    recurve::CheckTensors(file, *tensors);
  } else {
    recurve::CheckRefusal(tensors.status());
  }
  return 0;
}
