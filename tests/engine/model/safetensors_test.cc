// SPDX-License-Identifier: Apache-2.0
#include "engine/model/safetensors.h"

#include <filesystem>
#include <random>
#include <string>

#include "engine/base/mapped_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint_writer.h"
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(ParseSafetensors, ReadsEveryTypeAndShape) {
  const std::string file = SafetensorsFile({{"a", {"F32", {2, 1}, "12345678"}},
                                            {"b", {"BF16", {3}, "abcdef"}},
                                            {"c", {"F16", {}, "xy"}},
                                            {"d", {"F32", {5, 0}, ""}}});
  const auto tensors = ParseSafetensors(AsBytes(file));
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  ASSERT_EQ(tensors->size(), 4U);
  const auto text = [](const StoredTensor& tensor) {
    return std::string(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  };
  for (const StoredTensor& tensor : *tensors) {
    if (tensor.name == "a") {
      EXPECT_EQ(tensor.type, DataType::kF32);
      EXPECT_EQ(tensor.shape, (std::vector<uint64_t>{2, 1}));
      EXPECT_EQ(text(tensor), "12345678");
    } else if (tensor.name == "b") {
      EXPECT_EQ(tensor.type, DataType::kBf16);
      EXPECT_EQ(text(tensor), "abcdef");
    } else if (tensor.name == "c") {
      EXPECT_EQ(tensor.type, DataType::kF16);
      EXPECT_TRUE(tensor.shape.empty());
      EXPECT_EQ(text(tensor), "xy");
    } else {
      EXPECT_EQ(tensor.name, "d");
      EXPECT_TRUE(tensor.data.empty());
    }
  }
}

TEST(ParseSafetensors, AnEmptyObjectIsAFile) {
  const auto tensors = ParseSafetensors(AsBytes(SafetensorsFile("{}", "")));
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  EXPECT_TRUE(tensors->empty());
}

struct BadFile {
  const char* what;
  std::string file;
  const char* message;  // a part of it
};

// A file whose only tensor is `body`.
std::string OneTensor(const std::string& body, std::string_view data) {
  return SafetensorsFile("{\"t\":{" + body + "}}", data);
}

std::string Tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets;
}

std::vector<BadFile> BadFrames() {
  const std::string good = OneTensor(Tensor("F32", "[1]", "[0,4]"), "1234");
  std::string long_header = good;
  long_header[1] = 0x7F;
  std::string huge_header = good;
  huge_header[7] = static_cast<char>(0xFF);
  return {
      {"empty", "", "0 bytes"},
      {"short", "1234567", "7 bytes"},
      {"header beyond the file", long_header, "may be truncated"},
      {"header of 2^63 bytes", huge_header, "header length is 18374"},
      {"truncated data", good.substr(0, good.size() - 1), "tensor t: data_offsets are [0, 4]"},
      {"truncated header", good.substr(0, 20), "header length"},
      {"trailing data", good + "x", "5 bytes of data; expected 4"},
      {"empty header", SafetensorsFile("", ""), "begin with {"},
      {"leading space", SafetensorsFile(" {}", ""), "begin with {"},
      {"array", SafetensorsFile("[]", ""), "begin with {"},
      {"cut JSON", SafetensorsFile("{\"t\":{\"dtype\":", ""), "not valid JSON"},
      {"text after JSON", SafetensorsFile("{}x", ""), "not valid JSON"},
      {"bad UTF-8", SafetensorsFile("{\"\xff\":1}", ""), "not valid JSON"},
  };
}

std::vector<BadFile> BadEntries() {
  const std::string t4 = Tensor("F32", "[1]", "[0,4]");
  return {
      {"null", SafetensorsFile("{\"t\":null}", ""), "null at t"},
      {"number", SafetensorsFile("{\"t\":7}", ""), "a number at t"},
      {"list", SafetensorsFile("{\"t\":[]}", ""), "an array at t"},
      {"twice", SafetensorsFile("{\"t\":{" + t4 + "},\"t\":{" + t4 + "}}", "1234"),
       "tensor t: named twice"},
      {"no dtype", OneTensor("\"shape\":[1],\"data_offsets\":[0,4]", "1234"), "expected dtype"},
      {"no shape", OneTensor("\"dtype\":\"F32\",\"data_offsets\":[0,4]", "1234"), "shape"},
      {"no offsets", OneTensor("\"dtype\":\"F32\",\"shape\":[1]", "1234"), "data_offsets"},
      {"one offset", OneTensor(Tensor("F32", "[1]", "[0]"), "1234"), "two data_offsets"},
      {"three offsets", OneTensor(Tensor("F32", "[1]", "[0,4,4]"), "1234"), "more than two"},
      {"dtype twice", OneTensor("\"dtype\":\"F32\"," + t4, "1234"), "dtype given twice"},
      {"shape twice", OneTensor("\"shape\":[]," + t4, "1234"), "shape given twice"},
      {"offsets twice", OneTensor("\"data_offsets\":[0,4]," + t4, "1234"),
       "data_offsets given twice"},
      {"no offsets, then two", OneTensor("\"data_offsets\":[]," + t4, "1234"),
       "data_offsets given twice"},
      {"other field", OneTensor("\"strides\":[1]," + t4, "1234"), "unknown field \"strides\""},
      {"metadata number", SafetensorsFile("{\"__metadata__\":{\"a\":1}}", ""), "a number"},
      {"metadata nested", SafetensorsFile("{\"__metadata__\":{\"a\":{}}}", ""), "an object"},
      {"nested shape", OneTensor(Tensor("F32", "[[1]]", "[0,4]"), "1234"), "an array at t"},
      {"deep nesting", SafetensorsFile("{\"t\":{\"shape\":" + std::string(1000000, '['), ""),
       "an array at t"},
  };
}

std::vector<BadFile> BadNumbers() {
  return {
      {"unknown dtype", OneTensor(Tensor("I64", "[1]", "[0,8]"), "12345678"),
       "tensor t: dtype is \"I64\"; expected F32, F16 or BF16"},
      {"negative size", OneTensor(Tensor("F32", "[-1]", "[0,4]"), "1234"), "negative"},
      {"fraction", OneTensor(Tensor("F32", "[1.0]", "[0,4]"), "1234"), "number 1.0"},
      {"beyond 64 bits", OneTensor(Tensor("F32", "[18446744073709551616]", "[0,4]"), "1234"),
       "number 18446744073709551616"},
      {"overflow to 4 bytes",
       OneTensor(Tensor("F32", "[4294967296,4294967296,1]", "[0,4]"), "1234"), "more than 2^64"},
      {"overflow by the element size",
       OneTensor(Tensor("F32", "[4611686018427387905]", "[0,4]"), "1234"), "more than 2^64"},
      {"rank", OneTensor(Tensor("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), "1234"),
       "more than 8 dimensions"},
      {"too few bytes", OneTensor(Tensor("F32", "[2]", "[0,4]"), "1234"),
       "hold 4 bytes; expected 8 for f32 [2]"},
      {"too many bytes", OneTensor(Tensor("F16", "[1]", "[0,4]"), "1234"),
       "expected 2 for f16 [1]"},
      {"end before begin", OneTensor(Tensor("F32", "[1]", "[4,0]"), "1234"), "[4, 0]"},
      {"end beyond", OneTensor(Tensor("F32", "[1]", "[4,8]"), "1234"), "[4, 8]"},
      {"hole", OneTensor(Tensor("F32", "[1]", "[4,8]"), "12345678"), "begins at 4; expected 0"},
      {"overlap",
       SafetensorsFile("{\"a\":{" + Tensor("F32", "[1]", "[0,4]") + "},\"b\":{" +
                           Tensor("F32", "[1]", "[2,6]") + "}}",
                       "123456"),
       "tensor b: data begins at 2; expected 4"},
      {"same bytes twice",
       SafetensorsFile("{\"a\":{" + Tensor("F32", "[1]", "[0,4]") + "},\"b\":{" +
                           Tensor("F32", "[1]", "[0,4]") + "}}",
                       "1234"),
       "begins at 0; expected 4"},
  };
}

TEST(ParseSafetensors, RefusesWhatTheFormatForbids) {
  for (const std::vector<BadFile>& files : {BadFrames(), BadEntries(), BadNumbers()}) {
    for (const BadFile& bad : files) {
      const auto tensors = ParseSafetensors(AsBytes(bad.file));
      ASSERT_FALSE(tensors.ok()) << bad.what;
      EXPECT_EQ(tensors.status().code(), absl::StatusCode::kInvalidArgument) << bad.what;
      EXPECT_THAT(std::string(tensors.status().message()), HasSubstr(bad.message)) << bad.what;
    }
  }
}

TEST(ParseSafetensors, HeadersAreAtMost100MB) {
  // Sparse: zeros after the length, which take no space.
  const auto parse = [](uint64_t length) {
    const ScopedDirectory directory;
    directory.Write("file", {reinterpret_cast<const char*>(&length), sizeof(length)});
    const std::string path = directory.path() + "/file";
    std::filesystem::resize_file(path, 100'000'100);
    const auto file = MappedFile::Open(path);
    EXPECT_TRUE(file.ok()) << file.status();
    return std::string(ParseSafetensors((*file)->bytes()).status().message());
  };
  EXPECT_EQ(parse(100'000'001), "header length is 100000001; expected at most 100000000");
  EXPECT_THAT(parse(100'000'000), HasSubstr("begin with {"));
}

TEST(ParseSafetensors, HostileNamesAreShortAndEscapedInMessages) {
  const std::string name = "line\\nbreak" + std::string(100000, 'x');
  const auto tensors = ParseSafetensors(AsBytes(SafetensorsFile("{\"" + name + "\":1}", "")));
  const std::string message(tensors.status().message());
  EXPECT_LT(message.size(), 500U);
  EXPECT_THAT(message, AllOf(HasSubstr("line\\nbreak"), ::testing::Not(HasSubstr("\n"))));
}

TEST(ParseSafetensors, SurvivesRandomDamage) {
  const std::string good = SafetensorsFile({{"a", {"F32", {2, 1}, "12345678"}},
                                            {"b", {"BF16", {3}, "abcdef"}},
                                            {"c", {"F16", {}, "xy"}}});
  int accepted = 0;
  for (uint64_t seed = 0; seed < 30000; ++seed) {
    std::mt19937_64 random(seed);
    std::string file = good;
    for (uint64_t i = 1 + random() % 3; i > 0; --i) {
      const size_t place = random() % file.size();
      const std::string_view likely = "0123456789{}[],:\"\\ FBu-.e";
      switch (random() % 4) {
        case 0:
          file[place] = static_cast<char>(random());
          break;
        case 1:
          file[place] = likely[random() % likely.size()];
          break;
        case 2:
          file.insert(place, 1, likely[random() % likely.size()]);
          break;
        default:
          file.erase(place, 1 + random() % 4);
      }
      if (file.empty()) break;
    }
    const auto tensors = ParseSafetensors(AsBytes(file));
    if (!tensors.ok()) continue;
    ++accepted;
    size_t bytes = 0;
    for (const StoredTensor& tensor : *tensors) {
      ASSERT_GE(reinterpret_cast<const char*>(tensor.data.data()), file.data()) << seed;
      ASSERT_LE(reinterpret_cast<const char*>(tensor.data.data()) + tensor.data.size(),
                file.data() + file.size())
          << seed;
      bytes += tensor.data.size();
    }
    ASSERT_LE(bytes, file.size());
  }
  EXPECT_GT(accepted, 100);  // damage to data and names alone is not seen
}

}  // namespace
}  // namespace recurve
