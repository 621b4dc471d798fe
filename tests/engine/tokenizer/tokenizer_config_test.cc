// SPDX-License-Identifier: Apache-2.0
#include "engine/tokenizer/tokenizer_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tests/engine/tokenizer/test_tokenizer.h"

namespace recurve {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json SplitPart(std::string_view pattern) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", pattern}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

json Sequence(const char* list, std::vector<json> parts) {
  return {{"type", "Sequence"}, {list, parts}};
}

json Template() {
  return {{"type", "TemplateProcessing"},
          {"single",
           {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
            {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
          {"pair", json::array()},
          {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {0}}, {"tokens", {"<s>"}}}}}}};
}

struct Case {
  std::string message;  // part of the error's
  std::function<void(json*)> change;
};

// What a valid file becomes an error by, and what the error says.
const std::vector<Case>& Invalid() {
  static const std::vector<Case> cases = {
      {"version is \"2.0\", expected \"1.0\"", [](json* f) { (*f)["version"] = "2.0"; }},
      {"decoder is null, expected ByteLevel", [](json* f) { (*f)["decoder"] = nullptr; }},
      {"decoder is missing", [](json* f) { f->erase("decoder"); }},
      {"decoder is",
       [](json* f) {
         (*f)["decoder"] = Sequence("decoders", {ByteLevelPart(), ByteLevelPart()});
       }},
      {"decoder is", [](json* f) { (*f)["decoder"] = Sequence("decoders", {}); }},
      {"normalizer is {\"type\":\"NFKC\"}",
       [](json* f) {
         (*f)["normalizer"] = {{"type", "NFKC"}};
       }},
      {"normalizer is",
       [](json* f) {
         (*f)["normalizer"] = Sequence("normalizers", {{{"type", "NFC"}}, {{"type", "Lowercase"}}});
       }},
      {"pre_tokenizer is null", [](json* f) { (*f)["pre_tokenizer"] = nullptr; }},
      {"pre_tokenizer is", [](json* f) { (*f)["pre_tokenizer"]["use_regex"] = false; }},
      {"pre_tokenizer is",
       [](json* f) {
         (*f)["pre_tokenizer"] = Sequence("pretokenizers", {SplitPart(kQwen2Pattern)});
       }},
      {"pre_tokenizer.add_prefix_space is missing",
       [](json* f) { (*f)["pre_tokenizer"].erase("add_prefix_space"); }},
      {"[a-z]+unheard",
       [](json* f) {
         (*f)["pre_tokenizer"] =
             Sequence("pretokenizers", {SplitPart("[a-z]+unheard"), ByteLevelPart(false)});
       }},
      {"pre_tokenizer is",
       [](json* f) {
         (*f)["pre_tokenizer"] =
             Sequence("pretokenizers", {SplitPart(kQwen2Pattern), ByteLevelPart(true)});
       }},
      {"pre_tokenizer is",
       [](json* f) {
         json split = SplitPart(kQwen2Pattern);
         split["behavior"] = "Removed";
         (*f)["pre_tokenizer"] = Sequence("pretokenizers", {split, ByteLevelPart(false)});
       }},
      {"pre_tokenizer is",
       [](json* f) {
         (*f)["pre_tokenizer"] =
             Sequence("pretokenizers",
                      {{{"type", "Digits"}, {"individual_digits", false}}, ByteLevelPart()});
       }},
      {"post_processor is",
       [](json* f) {
         (*f)["post_processor"] = {{"type", "BertProcessing"}};
       }},
      {"a second TemplateProcessing",
       [](json* f) {
         (*f)["post_processor"] = Sequence("processors", {Template(), Template()});
       }},
      {"expected SpecialToken, or Sequence A",
       [](json* f) {
         (*f)["post_processor"] = Template();
         (*f)["post_processor"]["single"][1]["Sequence"]["id"] = "B";
       }},
      {"expected SpecialToken, or Sequence A",
       [](json* f) {
         (*f)["post_processor"] = Template();
         (*f)["post_processor"]["single"][0] = {{"id", "<s>"}};
       }},
      {"Sequence A among its pieces",
       [](json* f) {
         (*f)["post_processor"] = Template();
         (*f)["post_processor"]["single"].erase(1);
       }},
      {"special_tokens[\"<s>\"].ids",
       [](json* f) {
         (*f)["post_processor"] = Template();
         (*f)["post_processor"]["special_tokens"] = json::object();
       }},
      {"post_processor.special_tokens.ids is 999, expected the id of a token",
       [](json* f) {
         (*f)["post_processor"] = Template();
         (*f)["post_processor"]["special_tokens"]["<s>"]["ids"] = {999};
       }},
      {"model.type is \"Unigram\"", [](json* f) { (*f)["model"]["type"] = "Unigram"; }},
      {"model.type is missing", [](json* f) { f->erase("model"); }},
      {"model.type is missing",
       [](json* f) {
         (*f)["model"].erase("type");
         (*f)["model"].erase("merges");
       }},
      {"model.type is missing",
       [](json* f) {
         (*f)["model"].erase("type");
         (*f)["model"]["vocab"] = json::array({{"a", 0.5}});
       }},
      {"model.type is null", [](json* f) { (*f)["model"]["type"] = nullptr; }},
      {"model.dropout is 0.1", [](json* f) { (*f)["model"]["dropout"] = 0.1; }},
      {"model.byte_fallback is true", [](json* f) { (*f)["model"]["byte_fallback"] = true; }},
      {"model.byte_fallback is 1, expected true or false",
       [](json* f) { (*f)["model"]["byte_fallback"] = 1; }},
      {"model.continuing_subword_prefix is \"##\"",
       [](json* f) { (*f)["model"]["continuing_subword_prefix"] = "##"; }},
      {"model.end_of_word_suffix is",
       [](json* f) { (*f)["model"]["end_of_word_suffix"] = "</w>"; }},
      {"model.unk_token is",
       [](json* f) {
         (*f)["model"]["unk_token"] = "<unk>";
         (*f)["model"]["vocab"].erase("a");
         (*f)["model"]["merges"] = json::array();
       }},
      {"model.vocab is", [](json* f) { (*f)["model"]["vocab"] = json::array(); }},
      {"model.vocab[\"a\"] is \"x\", expected a token id",
       [](json* f) { (*f)["model"]["vocab"]["a"] = "x"; }},
      {"model.vocab[\"a\"] is -1", [](json* f) { (*f)["model"]["vocab"]["a"] = -1; }},
      {"model.vocab[\"a\"] is 1.5", [](json* f) { (*f)["model"]["vocab"]["a"] = 1.5; }},
      {"model.vocab[\"a\"] is 4194304, expected a token id from 0 to 4194303",
       [](json* f) { (*f)["model"]["vocab"]["a"] = 4194304; }},
      {"model.vocab[\"b\"] is 97, the id of another token too",
       [](json* f) { (*f)["model"]["vocab"]["b"] = 97; }},
      {"model.merges is", [](json* f) { (*f)["model"]["merges"] = nullptr; }},
      {"model.merges[0] is \"a b c\"", [](json* f) { (*f)["model"]["merges"] = {"a b c"}; }},
      {"model.merges[1]", [](json* f) { (*f)["model"]["merges"].push_back("a b"); }},
      {"model.merges[0] is [\"a\",1]", [](json* f) { (*f)["model"]["merges"][0][1] = 1; }},
      {"model.merges[0] is [\"a\",\"c\"]", [](json* f) { (*f)["model"]["merges"][0][1] = "c"; }},
      {"added_tokens is",
       [](json* f) {
         (*f)["added_tokens"] = {{"a", 1}};
       }},
      {"added_tokens[0] is 3", [](json* f) { (*f)["added_tokens"][0] = 3; }},
      {"added_tokens[0].id is 5, expected 257, the next free id",
       [](json* f) { (*f)["added_tokens"][0]["id"] = 5; }},
      {"added_tokens[0].id is 257, expected 97, its id in model.vocab",
       [](json* f) { (*f)["added_tokens"][0]["content"] = "a"; }},
      {"added_tokens[1].content is \"<s>\", a duplicate of added_tokens[0], expected distinct",
       [](json* f) { AddToken(f, "<s>"); }},
      {"added_tokens[2].content is \"<s>\", a duplicate of added_tokens[0], expected distinct",
       [](json* f) {
         AddToken(f, "<pad>");
         f->at("added_tokens").push_back(f->at("added_tokens")[0]);
       }},
      {"added_tokens[1].id is 257, a duplicate of that of added_tokens[0], expected distinct",
       [](json* f) {
         AddToken(f, "<pad>");
         (*f)["added_tokens"][1]["id"] = 257;
       }},
      {"added_tokens[0].content is empty",
       [](json* f) { (*f)["added_tokens"][0]["content"] = ""; }},
      {"added_tokens[0].special is missing",
       [](json* f) { (*f)["added_tokens"][0].erase("special"); }},
      {"added_tokens[0].lstrip is \"no\"",
       [](json* f) { (*f)["added_tokens"][0]["lstrip"] = "no"; }},
  };
  return cases;
}

json ValidFile() {
  json file = TestTokenizer({{"a", "b"}});
  AddToken(&file, "<s>");
  return file;
}

TEST(ParseTokenizerConfig, NamesWhatItDoesNotSupport) {
  ASSERT_TRUE(ParseTokenizerConfig(ValidFile().dump()).ok());
  for (const Case& one : Invalid()) {
    json file = ValidFile();
    one.change(&file);
    const auto config = ParseTokenizerConfig(file.dump());
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << one.message;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(one.message));
  }
}

TEST(ParseTokenizerConfig, TakesThePreTokenizersOfFourFamilies) {
  const auto parse = [](json pre_tokenizer) {
    json file = ValidFile();
    file["pre_tokenizer"] = std::move(pre_tokenizer);
    auto config = ParseTokenizerConfig(file.dump());
    EXPECT_TRUE(config.ok()) << config.status();
    return config.value_or(TokenizerConfig());
  };
  EXPECT_EQ(parse(ByteLevelPart()).pattern, WordPattern::kGpt2);
  EXPECT_TRUE(parse(ByteLevelPart(true, true)).prefix_space_first);
  const auto smollm = parse(Sequence(
      "pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, ByteLevelPart()}));
  EXPECT_EQ(smollm.pattern, WordPattern::kGpt2);
  EXPECT_TRUE(smollm.isolate_digits);
  const auto llama3 =
      parse(Sequence("pretokenizers", {SplitPart(kLlama3Pattern), ByteLevelPart(false)}));
  EXPECT_EQ(llama3.pattern, WordPattern::kLlama3);
  EXPECT_FALSE(llama3.prefix_space_last);
  const auto qwen2 =
      parse(Sequence("pretokenizers", {SplitPart(kQwen2Pattern), ByteLevelPart(false, true)}));
  EXPECT_EQ(qwen2.pattern, WordPattern::kQwen2);
  EXPECT_TRUE(qwen2.prefix_space_last);
}

// Each match is a word in all of them, since the patterns cover every character.
TEST(ParseTokenizerConfig, TakesASplitThatKeepsWhatMatches) {
  const auto parse = [](const char* behavior, bool invert) {
    json split = SplitPart(kLlama3Pattern);
    split["behavior"] = behavior;
    split["invert"] = invert;
    json file = ValidFile();
    file["pre_tokenizer"] = Sequence("pretokenizers", {split, ByteLevelPart(false)});
    return ParseTokenizerConfig(file.dump());
  };
  for (const auto& [behavior, invert] :
       {std::pair("Isolated", false), std::pair("Isolated", true), std::pair("Removed", true)}) {
    const auto config = parse(behavior, invert);
    ASSERT_TRUE(config.ok()) << behavior << invert << config.status();
    EXPECT_EQ(config->pattern, WordPattern::kLlama3);
  }
  EXPECT_FALSE(parse("Removed", false).ok());
  for (const char* behavior : {"MergedWithPrevious", "MergedWithNext", "Contiguous"}) {
    EXPECT_FALSE(parse(behavior, false).ok());
    EXPECT_FALSE(parse(behavior, true).ok());
  }
}

TEST(ParseTokenizerConfig, IgnoresWhatTrainingLeftWithOneWarning) {
  json file = ValidFile();
  EXPECT_TRUE(ParseTokenizerConfig(file.dump())->warnings.empty());
  file["truncation"] = {{"max_length", 5}};
  EXPECT_THAT(ParseTokenizerConfig(file.dump())->warnings,
              ElementsAre("tokenizer.json: truncation ignored: no prompt is cut or padded"));
  file["padding"] = {{"strategy", "BatchLongest"}, {"pad_id", 100000}};
  EXPECT_THAT(
      ParseTokenizerConfig(file.dump())->warnings,
      ElementsAre("tokenizer.json: truncation and padding ignored: no prompt is cut or padded"));
}

TEST(ParseTokenizerConfig, LeavesOutAddedTokensBeyondTheModel) {
  json file = ValidFile();  // vocabulary below 257, <s> is 257
  AddToken(&file, "<pad>");
  const auto parse = [&file](TokenId id_limit) {
    return ParseTokenizerConfig(file.dump(), id_limit);
  };
  EXPECT_TRUE(parse(259)->warnings.empty());
  EXPECT_EQ(parse(259)->added.size(), 2u);
  EXPECT_EQ(parse(258)->added.size(), 1u);
  EXPECT_THAT(
      parse(258)->warnings,
      ElementsAre("tokenizer.json: added_tokens: \"<pad>\" with id 258 left out: the model "
                  "has ids below 258 (vocab_size) alone, so text that spells such a token is "
                  "plain text"));
  EXPECT_THAT(parse(257)->warnings, ElementsAre(HasSubstr("\"<s>\" with id 257 and 1 more left")));
  // An id of the vocabulary is the caller's to refuse, whatever is added for it.
  (*file.find("added_tokens"))[0]["content"] = "a";
  (*file.find("added_tokens"))[0]["id"] = 97;
  (*file.find("added_tokens"))[1]["id"] = 257;
  EXPECT_EQ(parse(97)->added.size(), 1u);
  // Added to each prompt, it cannot be left out.
  file = ValidFile();
  file["post_processor"] = Template();
  file["post_processor"]["special_tokens"]["<s>"]["ids"] = {257};
  EXPECT_TRUE(parse(258).ok());
  EXPECT_EQ(parse(257).status().message(),
            "tokenizer.json: post_processor.special_tokens.ids is 257, expected the id of a token "
            "that the model has");
}

TEST(ParseTokenizerConfig, SaysThatATokenizerIsSentencepiece) {
  const json prepend = {{"type", "Prepend"}, {"prepend", "\u2581"}};
  const json metaspace = {{"type", "Metaspace"}, {"replacement", "\u2581"}};
  const std::vector<Case> cases = {
      {"model.type is \"Unigram\"",
       [](json* f) {
         (*f)["model"] = {{"type", "Unigram"}, {"vocab", json::array()}};
       }},
      {"model.byte_fallback is true", [](json* f) { (*f)["model"]["byte_fallback"] = true; }},
      {"normalizer has Prepend",
       [&](json* f) { (*f)["normalizer"] = Sequence("normalizers", {prepend}); }},
      {"normalizer has Precompiled",
       [](json* f) {
         (*f)["normalizer"] = {{"type", "Precompiled"}};
       }},
      {"pre_tokenizer has Metaspace", [&](json* f) { (*f)["pre_tokenizer"] = metaspace; }},
      {"decoder has ByteFallback",
       [](json* f) {
         (*f)["decoder"] =
             Sequence("decoders", {{{"type", "Replace"}}, {{"type", "ByteFallback"}}});
       }},
      {"decoder has Metaspace", [&](json* f) { (*f)["decoder"] = metaspace; }},
  };
  for (const Case& one : cases) {
    json file = ValidFile();
    one.change(&file);
    EXPECT_EQ(ParseTokenizerConfig(file.dump()).status().message(),
              "tokenizer.json: a sentencepiece tokenizer (" + one.message +
                  "), which is not supported; expected byte-level BPE, as GPT-2, SmolLM, Llama 3, "
                  "Qwen 2 and OLMo 2 have. Without the file the model is served for clients that "
                  "send token ids");
  }
}

TEST(ParseTokenizerConfig, TakesHarmlessVariants) {
  json file = ValidFile();
  file["model"]["merges"] = {"#version: 0.2", "a b"};
  file["model"]["dropout"] = 0.0;
  file["model"]["continuing_subword_prefix"] = "";
  file["model"]["unk_token"] = "<unk>";  // without effect: every byte is a token
  file["normalizer"] = Sequence("normalizers", {{{"type", "NFC"}}});
  file["post_processor"] = Sequence("processors", {ByteLevelPart(), Template()});
  file["something_new"] = 1;
  const auto config = ParseTokenizerConfig(file.dump());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->merges.size(), 1u);
  EXPECT_TRUE(config->nfc);
  EXPECT_EQ(config->post.size(), 2u);
}

TEST(ParseTokenizerConfig, TakesTheFileOfGpt2WithoutModelType) {
  json file = ValidFile();
  file["model"].erase("type");
  const auto config = ParseTokenizerConfig(file.dump());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->merges.size(), 1u);
}

TEST(ParseTokenizerConfig, TakesASequenceOfOneForTheOne) {
  json file = ValidFile();
  file["pre_tokenizer"] = Sequence("pretokenizers", {ByteLevelPart(true, true)});
  file["decoder"] = Sequence("decoders", {ByteLevelPart()});
  const auto config = ParseTokenizerConfig(file.dump());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->pattern, WordPattern::kGpt2);
  EXPECT_TRUE(config->prefix_space_first);
}

TEST(ParseTokenizerConfig, RejectsTextThatIsNoJson) {
  const std::vector<std::string> texts = {"",
                                          "{",
                                          "[1]",
                                          "3",
                                          "{\"version\": \"\xFF\"}",
                                          std::string(1 << 20, '['),
                                          "{\"a\":\"\\ud800\"}",
                                          std::string("\0\0", 2)};
  for (const std::string& text : texts) {
    EXPECT_EQ(ParseTokenizerConfig(text).status().code(), absl::StatusCode::kInvalidArgument);
  }
  json deep = 1;
  for (int i = 0; i < 100; ++i) deep = {{"a", deep}};
  json file = ValidFile();
  file["something_new"] = deep;
  EXPECT_THAT(std::string(ParseTokenizerConfig(file.dump()).status().message()),
              HasSubstr("nesting"));
}

// Every value of a valid file replaced by values of other types, and its bytes by random ones: a
// Status or a tokenizer that works, never a crash.
TEST(ParseTokenizerConfig, SurvivesDamage) {
  json valid = TestTokenizer({{"a", "b"}});
  AddToken(&valid, "<s>");
  valid["post_processor"] = Template();
  valid["normalizer"] = {{"type", "NFC"}};
  const std::vector<json> wrong = {nullptr,
                                   true,
                                   3,
                                   -1,
                                   1e300,
                                   18446744073709551615u,
                                   "",
                                   "a",
                                   json::array(),
                                   json::object(),
                                   {1, 2},
                                   {{"type", "Sequence"}}};
  const auto flat = valid.flatten();
  int tried = 0;
  for (const auto& [pointer, unused] : flat.items()) {
    if (pointer.find("/model/vocab/") == 0 && ++tried % 50 != 0) continue;
    for (json::json_pointer at(pointer); !at.empty(); at.pop_back()) {
      for (const json& value : wrong) {
        json damaged = valid;
        damaged[at] = value;
        const auto tokenizer = Tokenizer::Parse(damaged.dump());
        ASSERT_TRUE(!tokenizer.ok() || (*tokenizer)->Encode("ab <s>", true).ok());
      }
    }
  }
  std::mt19937 random(9);
  const std::string text = valid.dump();
  for (int round = 0; round < 300; ++round) {
    std::string damaged = text;
    for (int i = 0; i < 3; ++i) damaged[random() % damaged.size()] = static_cast<char>(random());
    const auto tokenizer = Tokenizer::Parse(damaged);
    ASSERT_TRUE(!tokenizer.ok() || (*tokenizer)->Encode("ab <s>", true).ok());
  }
}

}  // namespace
}  // namespace recurve
