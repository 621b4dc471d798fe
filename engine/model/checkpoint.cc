// SPDX-License-Identifier: Apache-2.0
// The files of a model directory: one safetensors file, or shards and their index.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/base/mapped_file.h"
#include "engine/base/status_macros.h"
#include "engine/model/json_fields.h"
#include "engine/model/model_directory.h"
#include "engine/model/safetensors.h"

namespace recurve {
namespace {

using Json = nlohmann::json;

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";
constexpr uint64_t kMaxIndexBytes = 16 << 20;

absl::Status InFile(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

absl::StatusOr<Checkpoint> OpenFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  absl::StatusOr<std::vector<StoredTensor>> tensors = ParseSafetensors(file->bytes());
  if (!tensors.ok()) return InFile(path, tensors.status());
  return Checkpoint{*std::move(tensors), {file}};
}

// Whether `name` can only mean a file of the directory itself.
bool IsPlainName(const std::string& name) {
  return !name.empty() && name.front() != '.' && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

// Tensor name -> shard, as the index says.
absl::StatusOr<std::map<std::string, std::string>> ReadIndex(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxIndexBytes));
  ASSIGN_OR_RETURN(const Json index, ParseJsonObject(text, path));
  const auto weight_map = index.find("weight_map");
  if (weight_map == index.end() || !weight_map->is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": weight_map is missing; expected an object of file names"));
  }
  std::map<std::string, std::string> shards;
  for (const auto& [name, shard] : weight_map->items()) {
    if (!shard.is_string() || !IsPlainName(shard.get_ref<const std::string&>())) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": weight_map.", absl::CEscape(name),
                                                     " is ", DescribeJson(shard),
                                                     "; expected a file name without a path"));
    }
    shards[name] = shard.get<std::string>();
  }
  return shards;
}

// Adds the tensors of shard `file`; `index` loses those names.
absl::Status AddShard(const std::string& directory, const std::string& file,
                      std::map<std::string, std::string>& index, Checkpoint& checkpoint) {
  const std::string path = absl::StrCat(directory, "/", file);
  ASSIGN_OR_RETURN(Checkpoint shard, OpenFile(path));
  checkpoint.files.push_back(shard.files.front());
  for (StoredTensor& tensor : shard.tensors) {
    const auto place = index.find(tensor.name);
    if (IsInverseFrequencies(tensor.name)) {
      checkpoint.tensors.push_back(std::move(tensor));
      continue;
    }
    if (place == index.end() || place->second != file) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": tensor ", absl::CEscape(tensor.name),
                                                     " is here, but not by ", kIndexFile));
    }
    index.erase(place);
    checkpoint.tensors.push_back(std::move(tensor));
  }
  return absl::OkStatus();
}

absl::StatusOr<Checkpoint> OpenShards(const std::string& directory) {
  ASSIGN_OR_RETURN(auto index, ReadIndex(absl::StrCat(directory, "/", kIndexFile)));
  std::vector<std::string> names;
  names.reserve(index.size());
  for (const auto& [tensor, shard] : index) names.push_back(shard);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());

  Checkpoint checkpoint;
  for (const std::string& name : names) {
    RETURN_IF_ERROR(AddShard(directory, name, index, checkpoint));
  }
  std::erase_if(index, [](const auto& entry) { return IsInverseFrequencies(entry.first); });
  if (!index.empty()) {
    const auto& [tensor, shard] = *index.begin();
    return absl::InvalidArgumentError(absl::StrCat(directory, "/", shard, ": tensor ",
                                                   absl::CEscape(tensor),
                                                   " is missing; expected by ", kIndexFile));
  }
  return checkpoint;
}

}  // namespace

bool IsInverseFrequencies(std::string_view name) { return name.ends_with(".rotary_emb.inv_freq"); }

absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string& directory) {
  absl::StatusOr<Checkpoint> checkpoint = OpenFile(absl::StrCat(directory, "/", kSingleFile));
  if (absl::IsNotFound(checkpoint.status())) {
    checkpoint = OpenShards(directory);
    if (absl::IsNotFound(checkpoint.status())) {
      return absl::NotFoundError(absl::StrCat(checkpoint.status().message(), "; expected ",
                                              kSingleFile, " or ", kIndexFile, " and its shards",
                                              DescribeOtherFiles(directory)));
    }
  }
  RETURN_IF_ERROR(checkpoint.status());
  std::sort(checkpoint->tensors.begin(), checkpoint->tensors.end(),
            [](const StoredTensor& a, const StoredTensor& b) { return a.name < b.name; });
  return checkpoint;
}

}  // namespace recurve
