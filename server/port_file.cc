// SPDX-License-Identifier: Apache-2.0
#include "server/port_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

constexpr mode_t kMode = 0666;  // less the umask
constexpr int kMaxDrafts = 1000;

std::string SystemError() { return std::system_category().message(errno); }

std::string Lines(const std::string& name, const Address& address) {
  std::string lines;
  if (!address.is_unix()) absl::StrAppend(&lines, name, "_port=", address.port, "\n");
  absl::StrAppend(&lines, name, "_address=", address.ToString(), "\n");
  return lines;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PortFile>> PortFile::Prepare(const std::string& path) {
  std::unique_ptr<PortFile> file(new PortFile(path));
  RETURN_IF_ERROR(file->CheckPath());
  RETURN_IF_ERROR(file->MakeDraft());
  return file;
}

PortFile::~PortFile() {
  const std::string& path = draft_.empty() ? path_ : draft_;
  if (IsOwn(path)) unlink(path.c_str());
}

absl::Status PortFile::Publish(const NamedAddresses& ports) {
  std::string text;
  for (const auto& [name, address] : ports) text += Lines(name, address);
  for (size_t written = 0; written < text.size();) {
    const ssize_t n = write(file_.get(), &text[written], text.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Failed(SystemError());
    written += static_cast<size_t>(n);
  }
  RETURN_IF_ERROR(CheckPath());
  if (std::rename(draft_.c_str(), path_.c_str()) != 0) return Failed(SystemError());
  draft_.clear();
  return absl::OkStatus();
}

absl::Status PortFile::CheckPath() const {
  struct stat file {};
  if (lstat(path_.c_str(), &file) == 0) {
    if (S_ISREG(file.st_mode)) return absl::OkStatus();
    return Failed("what is there is not a regular file, and is left alone; name another path");
  }
  return errno == ENOENT ? absl::OkStatus() : Failed(SystemError());
}

absl::Status PortFile::MakeDraft() {
  for (int i = 0; i < kMaxDrafts; ++i) {
    const std::string draft = absl::StrCat(path_, ".", getpid(), ".", i);
    file_ = ScopedDescriptor(
        open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kMode));
    if (file_.valid()) {
      draft_ = draft;
      return absl::OkStatus();
    }
    if (errno != EEXIST) break;
  }
  return Failed(SystemError());
}

absl::Status PortFile::Failed(const std::string& why) const {
  return absl::FailedPreconditionError(
      absl::StrCat("--port_file: cannot write ", path_, ": ", why));
}

bool PortFile::IsOwn(const std::string& path) const {
  struct stat own {
  }, there{};
  return file_.valid() && fstat(file_.get(), &own) == 0 && lstat(path.c_str(), &there) == 0 &&
         own.st_dev == there.st_dev && own.st_ino == there.st_ino;
}

}  // namespace recurve
