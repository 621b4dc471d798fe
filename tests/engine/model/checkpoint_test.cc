// SPDX-License-Identifier: Apache-2.0
// OpenCheckpoint: files, shards and their index.
#include <string>

#include "engine/model/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint_writer.h"
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const char kFirst[] = "model-00001-of-00002.safetensors";
const char kSecond[] = "model-00002-of-00002.safetensors";

std::string Index(const std::string& map) {
  return "{\"metadata\":{\"total_size\":8},\"weight_map\":{" + map + "}}";
}

class ShardsTest : public ::testing::Test {
 protected:
  ShardsTest() {
    directory_.Write(kFirst, SafetensorsFile({{"b", {"F32", {1}, "1234"}}}));
    directory_.Write(kSecond,
                     SafetensorsFile({{"a", {"F16", {1}, "xy"}}, {"c", {"F32", {0}, ""}}}));
  }

  // Opens the directory with this weight_map.
  absl::StatusOr<Checkpoint> Open(const std::string& map) {
    directory_.Write("model.safetensors.index.json", Index(map));
    return OpenCheckpoint(directory_.path());
  }

  const std::string good_map_ =
      std::string("\"a\":\"") + kSecond + "\",\"b\":\"" + kFirst + "\",\"c\":\"" + kSecond + "\"";
  ScopedDirectory directory_;
};

TEST_F(ShardsTest, AreOneCheckpoint) {
  const auto checkpoint = Open(good_map_);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  ASSERT_EQ(checkpoint->tensors.size(), 3U);
  EXPECT_EQ(checkpoint->tensors[0].name, "a");
  EXPECT_EQ(checkpoint->tensors[1].name, "b");
  EXPECT_EQ(checkpoint->tensors[2].name, "c");
  EXPECT_EQ(static_cast<char>(checkpoint->tensors[1].data[3]), '4');
}

TEST_F(ShardsTest, AreNotReadBesideASingleFile) {
  directory_.Write("model.safetensors", SafetensorsFile({{"z", {"F32", {1}, "1234"}}}));
  const auto checkpoint = Open(good_map_);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  ASSERT_EQ(checkpoint->tensors.size(), 1U);
  EXPECT_EQ(checkpoint->tensors[0].name, "z");
}

TEST_F(ShardsTest, MustBePlainNames) {
  for (const char* name : {"../x.safetensors", "/etc/passwd", "sub/x.safetensors", "", ".", "..",
                           ".hidden", "a\\u0000b"}) {
    const auto checkpoint = Open(std::string("\"a\":\"") + name + "\"");
    EXPECT_EQ(checkpoint.status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(checkpoint.status().message()),
                AllOf(HasSubstr("weight_map.a"), HasSubstr("without a path")))
        << name;
  }
}

TEST_F(ShardsTest, MustAgreeWithTheIndex) {
  EXPECT_THAT(std::string(Open(good_map_ + ",\"d\":\"" + kFirst + "\"").status().message()),
              AllOf(HasSubstr(kFirst), HasSubstr("tensor d is missing")));
  EXPECT_THAT(std::string(Open(std::string("\"b\":\"") + kFirst + "\",\"a\":\"" + kSecond + "\"")
                              .status()
                              .message()),
              AllOf(HasSubstr(kSecond), HasSubstr("tensor c is here, but not by")));
  // In a shard other than the one that the index names.
  EXPECT_THAT(std::string(Open(std::string("\"a\":\"") + kFirst + "\",\"b\":\"" + kFirst +
                               "\",\"c\":\"" + kSecond + "\"")
                              .status()
                              .message()),
              HasSubstr("tensor a is here, but not by"));
}

// Nothing reads them, whatever the index says of them.
TEST_F(ShardsTest, NeedNoIndexEntryForInverseFrequencies) {
  directory_.Write(kFirst, SafetensorsFile({{"b", {"F32", {1}, "1234"}},
                                            {"m.rotary_emb.inv_freq", {"F64", {1}, "12345678"}}}));
  const auto unlisted = Open(good_map_);
  ASSERT_TRUE(unlisted.ok()) << unlisted.status();
  EXPECT_EQ(unlisted->tensors.size(), 4U);
  const auto listed = Open(good_map_ + ",\"n.rotary_emb.inv_freq\":\"" + kSecond + "\"");
  EXPECT_TRUE(listed.ok()) << listed.status();
}

TEST_F(ShardsTest, MissingShardIsNotFound) {
  const auto checkpoint = Open("\"a\":\"absent.safetensors\"");
  EXPECT_EQ(checkpoint.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(checkpoint.status().message()), HasSubstr("absent.safetensors"));
}

TEST_F(ShardsTest, BadIndexIsRefused) {
  for (const char* text :
       {"", "[]", "{\"weight_map\":", "{}", "{\"weight_map\":[]}", "{\"weight_map\":{\"a\":1}}",
        "{\"weight_map\":{\"a\":\"x\",\"a\":\"y\"}}"}) {
    directory_.Write("model.safetensors.index.json", text);
    const auto checkpoint = OpenCheckpoint(directory_.path());
    EXPECT_EQ(checkpoint.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(checkpoint.status().message()), HasSubstr("index.json")) << text;
  }
}

TEST(OpenCheckpoint, NothingThereIsNotFound) {
  const ScopedDirectory directory;
  const auto checkpoint = OpenCheckpoint(directory.path());
  EXPECT_EQ(checkpoint.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(checkpoint.status().message()),
              AllOf(HasSubstr(directory.path()), HasSubstr("model.safetensors")));
}

TEST(OpenCheckpoint, ErrorsNameTheFile) {
  const ScopedDirectory directory;
  directory.Write("model.safetensors", "short");
  const auto checkpoint = OpenCheckpoint(directory.path());
  EXPECT_EQ(checkpoint.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(checkpoint.status().message()),
              HasSubstr(directory.path() + "/model.safetensors"));
}

}  // namespace
}  // namespace recurve
