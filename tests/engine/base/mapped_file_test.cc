// SPDX-License-Identifier: Apache-2.0
#include "engine/base/mapped_file.h"

#include <sys/stat.h>

#include <string>

#include "gtest/gtest.h"
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

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

}  // namespace
}  // namespace recurve
