// SPDX-License-Identifier: Apache-2.0
#include "engine/base/mapped_file.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <span>
#include <string>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(MappedFile, TakesRegularFilesAlone) {
  const ScopedDirectory directory;
  directory.Write("empty", "");
  directory.Write("text", "hello");
  ASSERT_EQ(mkfifo((directory.path() + "/pipe").c_str(), 0600), 0);
  const auto empty = MappedFile::Open(directory.path() + "/empty");
  ASSERT_TRUE(empty.ok());
  EXPECT_TRUE((*empty)->bytes().empty());
  EXPECT_EQ(*ReadTextFile(directory.path() + "/text", 5), "hello");
  EXPECT_EQ(ReadTextFile(directory.path() + "/text", 4).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MappedFile::Open(directory.path()).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MappedFile::Open(directory.path() + "/pipe").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MappedFile::Open(directory.path() + "/absent").status().code(),
            absl::StatusCode::kNotFound);
}

// Bytes in memory of the mapping that begins at `address`, as the system counts them.
uint64_t ResidentBytes(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  const std::string begin = absl::StrFormat("%x-", reinterpret_cast<uintptr_t>(address));
  while (std::getline(maps, line) && line.rfind(begin, 0) != 0) {
  }
  while (std::getline(maps, line)) {
    if (line.rfind("Rss:", 0) == 0) return std::strtoull(line.c_str() + 4, nullptr, 10) << 10;
  }
  ADD_FAILURE() << "no mapping begins at " << address;
  return 0;
}

uint64_t Sum(std::span<const std::byte> bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), uint64_t{0},
                         [](uint64_t sum, std::byte byte) { return sum + uint64_t(byte); });
}

TEST(MappedFile, ReleasedBytesAreGivenBackAndReadAgain) {
  constexpr size_t kSize = 8 << 20;
  const ScopedDirectory directory;
  directory.Write("large", std::string(kSize, 'x'));
  const auto file = *MappedFile::Open(directory.path() + "/large");
  const uint64_t sum = Sum(file->bytes());
  ASSERT_EQ(sum, kSize * 'x');
  ASSERT_EQ(ResidentBytes(file->bytes().data()), kSize);
  file->Release(file->bytes().subspan(1 << 20, 6 << 20));
  // Less where the system maps large pages, of which it gives back whole ones.
  EXPECT_LE(ResidentBytes(file->bytes().data()), 2 << 20);
  const std::string other(100, 'y');  // no memory but the file's is touched
  file->Release(std::as_bytes(std::span(other)));
  EXPECT_EQ(other, std::string(100, 'y'));
  file->Release({});
  EXPECT_EQ(Sum(file->bytes()), sum);
}

// What a clone without Git LFS leaves in place of a large file.
TEST(MappedFile, AGitLfsPointerIsNotTheFile) {
  const ScopedDirectory directory;
  directory.Write("model.safetensors",
                  "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 724548608\n");
  for (const absl::Status& status :
       {MappedFile::Open(directory.path() + "/model.safetensors").status(),
        ReadTextFile(directory.path() + "/model.safetensors", 1000).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(
        std::string(status.message()),
        AllOf(HasSubstr("/model.safetensors: a Git LFS pointer"), HasSubstr("git lfs pull")));
  }
}

// Callers take NotFound for the absence of an optional file.
TEST(MappedFile, NotFoundMeansThatNothingIsThere) {
  const ScopedDirectory directory;
  const std::string dangling = directory.path() + "/dangling";
  const std::string loop = directory.path() + "/loop";
  const std::string socket_path = directory.path() + "/socket";
  std::filesystem::create_symlink("absent", dangling);
  std::filesystem::create_symlink("loop", loop);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  ASSERT_LT(socket_path.size(), sizeof(address.sun_path));
  socket_path.copy(address.sun_path, socket_path.size());
  const int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  close(descriptor);
  EXPECT_THAT(std::string(MappedFile::Open(dangling).status().message()),
              AllOf(HasSubstr(dangling), HasSubstr("symbolic link to nothing")));
  EXPECT_THAT(std::string(MappedFile::Open(socket_path).status().message()),
              AllOf(HasSubstr(socket_path), HasSubstr("not a regular file")));
  for (const std::string& path : {dangling, loop, socket_path}) {
    const auto file = MappedFile::Open(path);
    EXPECT_FALSE(file.ok()) << path;
    EXPECT_FALSE(absl::IsNotFound(file.status())) << file.status();
  }
}

}  // namespace
}  // namespace recurve
