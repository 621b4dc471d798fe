// SPDX-License-Identifier: Apache-2.0
// A file mapped for reading.
#ifndef RECURVE_ENGINE_BASE_MAPPED_FILE_H_
#define RECURVE_ENGINE_BASE_MAPPED_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace recurve {

// Owns the mapping of a regular file. Immutable; thread-safe. A file that another process shortens
// while it is mapped raises SIGBUS on access: model files are replaced by renaming, never
// rewritten.
class MappedFile {
 public:
  // NotFound if nothing has this name; InvalidArgument for what is not a regular file, for a
  // symbolic link to nothing, and for a Git LFS pointer, which stands for a file that is elsewhere.
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Open(const std::string& path);

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

  // Gives back the memory that holds those of `part` that are bytes of this file: whoever reads
  // them next reads the file again. A hint.
  void Release(std::span<const std::byte> part) const;

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}

  const std::span<const std::byte> bytes_;
};

// The text of a file of at most `max_bytes`. Errors as MappedFile::Open, and InvalidArgument for a
// larger file.
absl::StatusOr<std::string> ReadTextFile(const std::string& path, uint64_t max_bytes);

}  // namespace recurve

#endif  // RECURVE_ENGINE_BASE_MAPPED_FILE_H_
