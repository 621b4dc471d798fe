// SPDX-License-Identifier: Apache-2.0
#include "engine/model/model_directory.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "engine/base/quotable.h"

namespace recurve {
namespace {

namespace fs = std::filesystem;

// Files in a form that is not read: how their names begin and end, and what to do with them.
struct OtherFile {
  const char* begin;  // of the name
  const char* end;
  const char* remedy;
};

constexpr char kSaveAgain[] =
    "which is not read, since reading it can run code: load it with transformers and write it with "
    "save_pretrained, which makes safetensors";

// Of several that match the first one is told.
constexpr OtherFile kOtherModels[] = {
    {"adapter_", "",
     "an adapter without its base model: load both with peft, and write what merge_and_unload "
     "returns with save_pretrained"},
    {"pytorch_model", "", kSaveAgain},
    {"", ".pth", kSaveAgain},
    {"", ".pt", kSaveAgain},
    {"", ".ckpt", kSaveAgain},
    {"tf_model", ".h5", kSaveAgain},
    {"flax_model", ".msgpack", kSaveAgain},
    {"", ".gguf", "a GGUF file, which is not read: use the safetensors that it was made from"},
    {"", ".safetensors", "which has neither of these names: rename it if it is the whole model"},
    {"snapshots", "", "a cache of Hugging Face: name the folder of one commit in it"},
};

constexpr OtherFile kOtherTokenizers[] = {
    {"tokenizer.model", "", "a SentencePiece or tiktoken model, which is not supported"},
    {"vocab.json", "",
     "load it with transformers as a fast tokenizer and write it with save_pretrained, which makes "
     "tokenizer.json"},
};

std::string Describe(const std::string& directory, absl::Span<const OtherFile> kinds) {
  std::vector<std::string> names;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  for (const OtherFile& kind : kinds) {
    for (const std::string_view name : names) {
      if (name.starts_with(kind.begin) && name.ends_with(kind.end)) {
        return absl::StrCat("; found ", Quotable(name), ", ", kind.remedy);
      }
    }
  }
  return "";
}

}  // namespace

std::string ModelName(const std::string& directory) {
  constexpr std::string_view kCacheBegin = "models--";
  const fs::path given(directory);
  std::error_code error;
  const fs::path absolute = fs::absolute(given, error).lexically_normal();
  fs::path path = error ? given : absolute;
  if (!path.has_filename()) path = path.parent_path();
  const std::string cache = path.parent_path().parent_path().filename().string();
  if (path.parent_path().filename() != "snapshots" || !cache.starts_with(kCacheBegin)) {
    return path.filename().string();
  }
  std::string name = cache.substr(kCacheBegin.size());
  const size_t slash = name.find("--");
  if (slash == name.npos) return name;
  return absl::StrCat(name.substr(0, slash), "/", name.substr(slash + 2));
}

absl::Status CheckDirectory(const std::string& directory) {
  std::error_code error;
  const fs::file_status status = fs::status(directory, error);
  if (!fs::exists(status)) {
    return absl::NotFoundError(
        absl::StrCat(directory,
                     " does not exist; expected a model directory on this machine, for one of "
                     "Hugging Face what `hf download` prints"));
  }
  if (fs::is_directory(status)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(directory, " is a file; expected a model directory, with config.json in it"));
}

std::string DescribeOtherFiles(const std::string& directory) {
  return Describe(directory, kOtherModels);
}

std::string DescribeOtherTokenizers(const std::string& directory) {
  return Describe(directory, kOtherTokenizers);
}

}  // namespace recurve
