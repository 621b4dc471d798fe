// SPDX-License-Identifier: Apache-2.0
#include "engine/base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/scoped_descriptor.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

// Why `path` cannot be opened. NotFound says that there is no such name and nothing else, since
// callers take it for the absence of an optional file; errno says it of sockets too, and of links.
absl::Status OpenError(const std::string& path, int error) {
  absl::Status status = absl::ErrnoToStatus(error, path);
  struct stat info;
  if (!absl::IsNotFound(status) || lstat(path.c_str(), &info) != 0) return status;
  return absl::InvalidArgumentError(absl::StrCat(
      path, error == ENOENT ? ": a symbolic link to nothing" : ": not a regular file"));
}

// Whether a file is what a clone without Git LFS has in place of a large file.
bool IsGitLfsPointer(std::span<const std::byte> bytes) {
  constexpr std::string_view kBegin = "version https://git-lfs.github.com/spec/";
  return bytes.size() >= kBegin.size() &&
         std::memcmp(bytes.data(), kBegin.data(), kBegin.size()) == 0;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const MappedFile>> MappedFile::Open(const std::string& path) {
  // O_NONBLOCK: a named pipe must not hold up the load.
  const ScopedDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return OpenError(path, errno);
  struct stat info;
  if (fstat(file.get(), &info) != 0) return absl::ErrnoToStatus(errno, path);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
  }
  std::span<const std::byte> bytes;
  if (info.st_size > 0) {
    const size_t size = static_cast<size_t>(info.st_size);
    void* address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (address == MAP_FAILED) return absl::ErrnoToStatus(errno, absl::StrCat("mapping ", path));
    bytes = {static_cast<const std::byte*>(address), size};
  }
  std::shared_ptr<const MappedFile> mapped(new MappedFile(bytes));
  if (IsGitLfsPointer(bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": a Git LFS pointer of ", bytes.size(),
                     " bytes, not the file itself: fetch it with `git lfs pull`"));
  }
  return mapped;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::Release(std::span<const std::byte> part) const {
  if (part.empty() || bytes_.empty()) return;
  const auto begin = std::max(part.data(), bytes_.data());
  const auto end = std::min(part.data() + part.size(), bytes_.data() + bytes_.size());
  if (begin >= end) return;
  // Whole pages, as the file's: what else lies on the first and the last is read again, too.
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t first = static_cast<size_t>(begin - bytes_.data()) / page * page;
  madvise(const_cast<std::byte*>(bytes_.data()) + first,
          static_cast<size_t>(end - bytes_.data()) - first, MADV_DONTNEED);
}

absl::StatusOr<std::string> ReadTextFile(const std::string& path, uint64_t max_bytes) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  if (file->bytes().size() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", file->bytes().size(), " bytes; expected at most ", max_bytes));
  }
  return std::string(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
}

}  // namespace recurve
