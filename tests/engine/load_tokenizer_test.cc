// SPDX-License-Identifier: Apache-2.0
// Assemble: the tokenizer of a model directory.
#include "engine/assembly.h"

#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "engine/model/model_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint_writer.h"
#include "tests/engine/tokenizer/test_tokenizer.h"
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

absl::StatusOr<Assembly> AssembleFrom(const ScopedDirectory& directory) {
  EngineOptions options;
  options.model.directory = directory.path();
  options.model.threads = 1;
  return Assemble(options);
}

TEST(Assemble, TokenizerIsOptional) {
  const ScopedDirectory directory;
  WriteSmallModel(directory);
  auto assembly = AssembleFrom(directory);
  ASSERT_TRUE(assembly.ok()) << assembly.status();
  EXPECT_EQ(assembly->tokenizer, nullptr);
  EXPECT_FALSE(assembly->info.has_tokenizer);
  EXPECT_THAT(
      assembly->info.warnings,
      ElementsAre(AllOf(HasSubstr("/tokenizer.json does not exist: requests must give token"),
                        Not(HasSubstr("found")))));

  directory.Write("tokenizer.json", TestTokenizer().dump());
  assembly = AssembleFrom(directory);
  ASSERT_TRUE(assembly.ok()) << assembly.status();
  EXPECT_NE(assembly->tokenizer, nullptr);
  EXPECT_TRUE(assembly->info.has_tokenizer);
  EXPECT_THAT(assembly->info.warnings, IsEmpty());
}

TEST(Assemble, NamesTheTokenizerThatADirectoryHoldsInstead) {
  for (const char* file : {"tokenizer.model", "vocab.json"}) {
    const ScopedDirectory directory;
    WriteSmallModel(directory);
    directory.Write(file, "x");
    const auto assembly = AssembleFrom(directory);
    ASSERT_TRUE(assembly.ok()) << assembly.status();
    EXPECT_THAT(assembly->info.warnings, ElementsAre(HasSubstr(std::string("; found ") + file)));
  }
}

TEST(Assemble, WarnsOfPagesThatHoldNoFullContext) {
  const ScopedDirectory directory;
  WriteSmallModel(directory);
  directory.Write("tokenizer.json", TestTokenizer().dump());
  EngineOptions options;
  options.model.directory = directory.path();
  options.model.threads = 1;
  options.memory.kv_pages = 1;
  const auto few = Assemble(options);
  ASSERT_TRUE(few.ok()) << few.status();
  ASSERT_EQ(few->info.warnings.size(), 1U);
  EXPECT_THAT(few->info.warnings[0],
              HasSubstr("--kv_pages is 1; one sequence of 64 tokens needs "));
  options.memory.kv_pages = 1000;
  const auto enough = Assemble(options);
  ASSERT_TRUE(enough.ok()) << enough.status();
  EXPECT_THAT(enough->info.warnings, IsEmpty());
}

TEST(Assemble, AModelHasTheNameThatPeopleKnow) {
  EXPECT_EQ(ModelName("/x/demo"), "demo");
  EXPECT_EQ(ModelName("/x/demo/"), "demo");
  EXPECT_EQ(ModelName("/x/demo/."), "demo");
  EXPECT_EQ(ModelName("/hub/models--meta-llama--Llama-3.2-1B/snapshots/4e20"),
            "meta-llama/Llama-3.2-1B");
  EXPECT_EQ(ModelName("/hub/models--gpt2/snapshots/4e20/"), "gpt2");
  EXPECT_EQ(ModelName("/hub/models--a--b--c/snapshots/4e20"), "a/b--c");
  EXPECT_EQ(ModelName("/hub/other/snapshots/4e20"), "4e20");
  EXPECT_EQ(ModelName("."), std::filesystem::current_path().filename().string());
}

// What stands under the tokenizer's name and is no file is a mistake, not a model without one.
TEST(Assemble, RefusesATokenizerThatIsNoFile) {
  const std::vector<std::function<void(const std::string&)>> makers = {
      [](const std::string& path) { std::filesystem::create_symlink("absent", path); },
      [](const std::string& path) { std::filesystem::create_symlink("tokenizer.json", path); },
      [](const std::string& path) { std::filesystem::create_directory(path); },
      [](const std::string& path) { ASSERT_EQ(mkfifo(path.c_str(), 0600), 0); },
  };
  for (const auto& make : makers) {
    const ScopedDirectory directory;
    WriteSmallModel(directory);
    const std::string path = directory.path() + "/tokenizer.json";
    make(path);
    const auto assembly = AssembleFrom(directory);
    EXPECT_FALSE(assembly.ok());
    EXPECT_THAT(std::string(assembly.status().message()), HasSubstr(path));
  }
}

TEST(Assemble, RefusesAVocabularyWithMoreIdsThanTheModel) {
  const ScopedDirectory directory;
  WriteSmallModel(directory);
  directory.Write("tokenizer.json", TestTokenizer({{"a", "b"}, {"b", "c"}}).dump());
  EXPECT_TRUE(AssembleFrom(directory).ok());
  directory.Write("tokenizer.json", TestTokenizer({{"a", "b"}, {"b", "c"}, {"c", "d"}}).dump());
  const auto assembly = AssembleFrom(directory);
  EXPECT_EQ(assembly.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(assembly.status().message()),
              AllOf(HasSubstr(directory.path() + "/tokenizer.json: the largest id is 258;"),
                    HasSubstr("below vocab_size, 258, of " + directory.path() + "/config.json")));
}

TEST(Assemble, LeavesOutAddedTokensBeyondTheModelWithOneWarning) {
  const ScopedDirectory directory;
  WriteSmallModel(directory);
  nlohmann::json tokenizer = TestTokenizer();
  AddToken(&tokenizer, "<s>");
  AddToken(&tokenizer, "</s>");
  directory.Write("tokenizer.json", tokenizer.dump());
  const auto whole = AssembleFrom(directory);
  ASSERT_TRUE(whole.ok()) << whole.status();
  AddToken(&tokenizer, "<pad>");
  AddToken(&tokenizer, "<mask>");
  tokenizer["padding"] = {{"strategy", "BatchLongest"}};
  directory.Write("tokenizer.json", tokenizer.dump());
  const auto assembly = AssembleFrom(directory);
  ASSERT_TRUE(assembly.ok()) << assembly.status();
  EXPECT_EQ(assembly->tokenizer->vocab_size(), 258U);
  std::vector<std::string> warnings = whole->info.warnings;
  warnings.push_back("tokenizer.json: padding ignored: no prompt is cut or padded");
  warnings.push_back(
      "tokenizer.json: added_tokens: \"<pad>\" with id 258 and 1 more left out: the model has ids "
      "below 258 (vocab_size) alone, so text that spells such a token is plain text");
  EXPECT_EQ(assembly->info.warnings, warnings);
}

}  // namespace
}  // namespace recurve
