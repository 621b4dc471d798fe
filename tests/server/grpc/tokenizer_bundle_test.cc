// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/tokenizer_bundle.h"

#include <string>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

// As Python's zipfile writes it, of the same file and no time, but for the version and system that
// made it.
TEST(TokenizerBundleTest, AnArchiveIsWhatOthersWrite) {
  EXPECT_EQ(absl::BytesToHexString(Zip({{"a.json", "{}"}})),
            "504b03040a00000000000000210043bfa6a3020000000200000006000000612e6a736f6e7b7d"
            "504b01020a000a00000000000000210043bfa6a30200000002000000060000000000000000000000000000"
            "000000612e6a736f6e"
            "504b0506000000000100010034000000260000000000");
}

TEST(TokenizerBundleTest, EqualFilesHaveEqualArchives) {
  const std::string directory = RECURVE_SOURCE_DIR "/models/demo";
  const auto one = BundleTokenizer(directory), other = BundleTokenizer(directory);
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ(one->sha256.size(), 64);
  EXPECT_EQ(one->sha256, other->sha256);
  EXPECT_NE(one->zip.find("tokenizer.json"), std::string::npos);
  EXPECT_EQ(one->zip.find("model.safetensors"), std::string::npos);
}

}  // namespace
}  // namespace recurve
