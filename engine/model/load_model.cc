// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/mapped_file.h"
#include "engine/base/progress.h"
#include "engine/base/status_macros.h"
#include "engine/model/check_finite.h"
#include "engine/model/checkpoint_names.h"
#include "engine/model/model_directory.h"
#include "engine/model/safetensors.h"
#include "engine/model/tensor_layout.h"
#include "engine/model/weight_pass.h"
#include "engine/model/weights.h"

namespace recurve {
namespace {

constexpr uint64_t kMaxConfigBytes = 1 << 20;

std::string DescribeShape(DataType type, const std::vector<uint64_t>& shape) {
  return absl::StrCat(DataTypeName(type), " [", absl::StrJoin(shape, ", "), "]");
}

// Finds the model's tensors in a checkpoint and accounts for every other one.
class TensorFinder {
 public:
  // `model`: has the checkpoint's files.
  TensorFinder(const Checkpoint& checkpoint, const Model& model)
      : tensors_(checkpoint.tensors),
        used_(checkpoint.tensors.size(), false),
        pass_(model, "checking weights") {}

  // Points slot.tensor at its bytes.
  absl::Status Place(const TensorSlot& slot) {
    const StoredTensor* stored = Take(slot.name);
    if (stored == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor ", slot.name, " is missing; expected [", absl::StrJoin(slot.shape, ", "), "]"));
    }
    if (stored->type == DataType::kF64) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", slot.name, " is ",
                                                     DescribeShape(stored->type, stored->shape),
                                                     "; expected f32, f16 or bf16"));
    }
    if (stored->shape != slot.shape) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", slot.name, " is ", DescribeShape(stored->type, stored->shape),
                       "; expected [", absl::StrJoin(slot.shape, ", "), "] by config.json"));
    }
    slot.tensor->type = stored->type;
    slot.tensor->rows = slot.shape.size() == 1 ? 1 : static_cast<uint32_t>(slot.shape[0]);
    slot.tensor->columns = static_cast<uint32_t>(slot.shape.back());
    slot.tensor->data = stored->data.data();
    RETURN_IF_ERROR(CheckFinite(slot.name, *slot.tensor));
    for (const std::string& name : slot.duplicates) {
      const StoredTensor* duplicate = Take(name);
      if (duplicate == nullptr) continue;
      RETURN_IF_ERROR(CompareDuplicate(*stored, *duplicate));
      pass_.Passed(duplicate->data);
      ++duplicates_;
    }
    pass_.Passed(stored->data);
    return absl::OkStatus();
  }

  // To call after every Place: refuses tensors that have no place in the model.
  absl::Status CheckSurplus() {
    std::vector<std::string> surplus;
    for (size_t i = 0; i < tensors_.size(); ++i) {
      if (used_[i]) continue;
      if (IsInverseFrequencies(tensors_[i].name)) {
        ++inverse_frequencies_;
      } else {
        surplus.push_back(tensors_[i].name);
      }
    }
    if (surplus.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor ", absl::CEscape(surplus.front()), " has no place in the model of config.json",
        surplus.size() == 1 ? "" : absl::StrCat("; neither have ", surplus.size() - 1, " others")));
  }

  // Adds a line if anything was ignored.
  void Warn(std::vector<std::string>* warnings) const {
    if (duplicates_ + inverse_frequencies_ == 0) return;
    warnings->push_back(absl::StrCat("ignored tensors: ", duplicates_,
                                     " equal duplicates of shared tensors, ", inverse_frequencies_,
                                     " inv_freq"));
  }

 private:
  // The tensor of this name, from now on accounted for; null if there is none.
  const StoredTensor* Take(absl::string_view name) {
    const auto found = std::lower_bound(
        tensors_.begin(), tensors_.end(), name,
        [](const StoredTensor& tensor, absl::string_view n) { return tensor.name < n; });
    if (found == tensors_.end() || found->name != name) return nullptr;
    used_[static_cast<size_t>(found - tensors_.begin())] = true;
    return &*found;
  }

  static absl::Status CompareDuplicate(const StoredTensor& stored, const StoredTensor& duplicate) {
    if (duplicate.type == stored.type && duplicate.shape == stored.shape &&
        std::memcmp(duplicate.data.data(), stored.data.data(), stored.data.size()) == 0) {
      return absl::OkStatus();
    }
    std::string found = "with other values";
    if (duplicate.type != stored.type || duplicate.shape != stored.shape) {
      found = absl::StrCat("as ", DescribeShape(duplicate.type, duplicate.shape));
    }
    const bool attention = duplicate.name.find(".self_attn.") != std::string::npos;
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor ", duplicate.name, " repeats ", stored.name, " ", found,
        "; expected equal bytes, since config.json makes them one weight",
        attention ? " (mor.attention_weights \"per_recursion\" gives each recursion its own)"
                  : ""));
  }

  const std::vector<StoredTensor>& tensors_;  // sorted by name
  std::vector<bool> used_;
  WeightPass pass_;
  size_t duplicates_ = 0;
  size_t inverse_frequencies_ = 0;
};

absl::StatusOr<ModelConfig> LoadConfig(const std::string& directory,
                                       std::vector<std::string>* warnings) {
  RETURN_IF_ERROR(CheckDirectory(directory));
  absl::StatusOr<std::string> config =
      ReadTextFile(absl::StrCat(directory, "/config.json"), kMaxConfigBytes);
  if (absl::IsNotFound(config.status())) {
    return absl::NotFoundError(
        absl::StrCat(config.status().message(), DescribeOtherFiles(directory)));
  }
  RETURN_IF_ERROR(config.status());
  absl::StatusOr<std::string> generation =
      ReadTextFile(absl::StrCat(directory, "/generation_config.json"), kMaxConfigBytes);
  if (absl::IsNotFound(generation.status())) generation = std::string();
  RETURN_IF_ERROR(generation.status());
  absl::StatusOr<ModelConfig> parsed = ParseModelConfig(*config, *generation, warnings);
  if (parsed.ok()) return parsed;
  return absl::Status(parsed.status().code(),
                      absl::StrCat(directory, "/", parsed.status().message()));
}

absl::Status PlaceWeights(const Checkpoint& checkpoint, Model* model) {
  RETURN_IF_ERROR(CheckNames(model->config, checkpoint));
  TensorFinder finder(checkpoint, *model);
  for (const TensorSlot& slot : LayOutTensors(model->config, &model->weights)) {
    RETURN_IF_ERROR(finder.Place(slot));
  }
  RETURN_IF_ERROR(finder.CheckSurplus());
  if (model->config.tie_word_embeddings) model->weights.lm_head = model->weights.embedding;
  finder.Warn(&model->warnings);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Model> LoadModel(const std::string& directory, std::shared_ptr<Progress> progress) {
  Model model;
  model.progress = std::move(progress);
  ASSIGN_OR_RETURN(model.config, LoadConfig(directory, &model.warnings));
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, OpenCheckpoint(directory));
  model.files = checkpoint.files;
  if (absl::Status status = PlaceWeights(checkpoint, &model); !status.ok()) {
    return absl::Status(status.code(), absl::StrCat(directory, ": ", status.message()));
  }
  return model;
}

}  // namespace recurve
