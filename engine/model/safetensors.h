// SPDX-License-Identifier: Apache-2.0
// Reader of safetensors files over mapped memory:
// https://github.com/huggingface/safetensors#format. Files are untrusted: every size is checked
// before use, and memory taken is in proportion to the header.
#ifndef RECURVE_ENGINE_MODEL_SAFETENSORS_H_
#define RECURVE_ENGINE_MODEL_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/model/weights.h"

namespace recurve {

// Of a header, as in the format's reference implementation.
inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;
inline constexpr size_t kMaxSafetensorsRank = 8;

// A tensor as a file holds it. `data` points into the file's bytes.
struct StoredTensor {
  std::string name;
  DataType type = DataType::kF32;
  std::vector<uint64_t> shape;      // row-major; empty: a scalar
  std::span<const std::byte> data;  // product of `shape` elements, not aligned
};

// "f32", "f16", "bf16", "f64".
absl::string_view DataTypeName(DataType type);

// Reads the bytes of one file. InvalidArgument, naming the tensor where there is one, for a file
// that breaks the format (header size, JSON, names, offsets, sizes, overlaps, holes, trailing
// bytes), for element types other than F32, F16, BF16 and F64, and for more than
// kMaxSafetensorsRank dimensions.
absl::StatusOr<std::vector<StoredTensor>> ParseSafetensors(std::span<const std::byte> file);

// Whether a tensor holds RoPE's frequencies, which old checkpoints keep. Nothing reads them: they
// follow from config.json.
bool IsInverseFrequencies(std::string_view name);

// All tensors of a model directory, sorted by name.
struct Checkpoint {
  std::vector<StoredTensor> tensors;
  std::vector<std::shared_ptr<const MappedFile>> files;
};

// Maps `directory`/model.safetensors, or, if there is none, the shards that
// model.safetensors.index.json names, which must be plain names of files in the directory. The
// index and the shards must agree on every tensor but inverse frequencies. Errors name the file;
// NotFound names what the directory holds instead. The files must not be changed while they are
// mapped.
absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string& directory);

}  // namespace recurve

#endif  // RECURVE_ENGINE_MODEL_SAFETENSORS_H_
