// SPDX-License-Identifier: Apache-2.0
#include "engine/model/checkpoint_names.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "engine/base/quotable.h"
#include "engine/base/status_macros.h"

namespace recurve {
namespace {

constexpr std::string_view kEmbedding = "model.embed_tokens.weight";

// The first name that holds `part`; "" if none does.
std::string_view FindName(const Checkpoint& checkpoint, std::string_view part) {
  for (const StoredTensor& tensor : checkpoint.tensors) {
    if (tensor.name.find(part) != std::string::npos) return tensor.name;
  }
  return "";
}

// Layers that have a router of their own: the recursions of an expert-choice model.
size_t CountRouters(const Checkpoint& checkpoint) {
  std::string_view last;
  size_t count = 0;
  for (const StoredTensor& tensor : checkpoint.tensors) {
    const size_t end = tensor.name.find(".mor_router.");
    if (end == std::string::npos) continue;
    const std::string_view layer = std::string_view(tensor.name).substr(0, end);
    if (layer != last) ++count;
    last = layer;
  }
  return count;
}

// A model with routers needs an object `mor` that says of which kind they are.
absl::Status CheckRouted(const ModelConfig& config, const Checkpoint& checkpoint) {
  if (config.router.type != RouterType::kNone) return absl::OkStatus();
  const std::string_view list = FindName(checkpoint, ".block_list.");
  const std::string_view block = list.empty() ? FindName(checkpoint, ".block.") : list;
  const std::string_view router = FindName(checkpoint, ".mor_router.");
  if (block.empty() && router.empty()) return absl::OkStatus();
  const bool cycle = block.starts_with("model.layers.0.");
  const std::string recursions =
      list.empty() && !router.empty()
          ? absl::StrCat(", \"num_recursions\": ", CountRouters(checkpoint))
          : "";
  return absl::InvalidArgumentError(absl::StrCat(
      "config.json has no object ", config.sharing == Sharing::kNone ? "mor" : "mor.router",
      ", which a Mixture-of-Recursions model needs, and the checkpoint holds one: found ",
      Quotable(block.empty() ? router : block),
      block.empty() || router.empty() ? "" : absl::StrCat(" and ", Quotable(router)),
      ". These names say \"sharing\": \"", cycle ? "cycle" : "middle_cycle", "\"", recursions,
      " and a router of type \"", list.empty() ? "expert_choice" : "token_choice",
      "\"; the trainer's YAML file says the rest (docs/model.md has a table from it to mor)"));
}

// Which tool leaves `prefix` in names, and how to save without it.
const char* RemedyOf(std::string_view prefix) {
  if (prefix.find("_orig_mod.") != prefix.npos) {
    return "torch.compile adds _orig_mod.: save the model inside, model._orig_mod";
  }
  if (prefix == "module.") {
    return "DistributedDataParallel adds it: save the model inside, model.module";
  }
  if (prefix.starts_with("base_model.model.")) {
    return "peft adds it: save what merge_and_unload returns";
  }
  return "save the tensors without it";
}

absl::Status CheckPrefix(const Checkpoint& checkpoint) {
  const bool is_there = std::any_of(checkpoint.tensors.begin(), checkpoint.tensors.end(),
                                    [](const StoredTensor& t) { return t.name == kEmbedding; });
  if (is_there) return absl::OkStatus();
  for (const StoredTensor& tensor : checkpoint.tensors) {
    const std::string_view name = tensor.name;
    const bool prefixed = name.ends_with(kEmbedding);
    if (prefixed && name[name.size() - kEmbedding.size() - 1] == '.') {
      const std::string_view prefix = name.substr(0, name.size() - kEmbedding.size());
      return absl::InvalidArgumentError(absl::StrCat("the tensors' names begin with ",
                                                     Quotable(prefix), ", as ", Quotable(name),
                                                     "; ", RemedyOf(prefix)));
    }
    if (name == kEmbedding.substr(kEmbedding.find('.') + 1)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the tensors' names lack model. at their beginning, as ", tensor.name,
          ": it is a model without its head; save the LlamaForCausalLM that holds it"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckNames(const ModelConfig& config, const Checkpoint& checkpoint) {
  RETURN_IF_ERROR(CheckPrefix(checkpoint));
  return CheckRouted(config, checkpoint);
}

}  // namespace recurve
