// SPDX-License-Identifier: Apache-2.0
#include "engine/model/tensor_layout.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace recurve {
namespace {

using Names = std::vector<std::string>;

Names AppendToAll(const Names& prefixes, absl::string_view suffix) {
  Names names;
  for (const std::string& prefix : prefixes) names.push_back(absl::StrCat(prefix, suffix));
  return names;
}

// Lists tensors one by one. A tensor's first name is where it is stored, the others are duplicates.
class TensorLister {
 public:
  TensorLister(const ModelConfig& config, Weights* weights) : config_(config), weights_(*weights) {}

  std::vector<TensorSlot> List() {
    const uint64_t d = config_.hidden_size;
    Names embedding = {"model.embed_tokens.weight"};
    if (config_.tie_word_embeddings) {
      embedding.push_back("lm_head.weight");
    } else {
      Add({"lm_head.weight"}, {config_.vocab_size, d}, TensorRole::kHead, &weights_.lm_head);
    }
    Add(embedding, {config_.vocab_size, d}, TensorRole::kEmbedding, &weights_.embedding);
    Add({"model.norm.weight"}, {d}, TensorRole::kNorm, &weights_.final_norm);

    weights_.entry.resize(config_.entry_layers());
    weights_.block.resize(config_.block_layers());
    weights_.exit.resize(config_.exit_layers());
    if (config_.has_ends()) {
      AddLayer({"model.layers.0."}, &weights_.entry[0]);
      AddLayer({absl::StrCat("model.layers.", LastLayer(), ".")}, &weights_.exit[0]);
    }
    for (uint32_t j = 0; j < config_.block_layers(); ++j) {
      AddLayer(BlockPrefixes(j), &weights_.block[j]);
    }
    AddRouters();
    return std::move(slots_);
  }

 private:
  void Add(Names names, std::vector<uint64_t> shape, TensorRole role, Tensor* tensor) {
    TensorSlot& slot = slots_.emplace_back();
    slot.name = std::move(names.front());
    names.erase(names.begin());
    slot.duplicates = std::move(names);
    slot.shape = std::move(shape);
    slot.role = role;
    slot.tensor = tensor;
  }

  // Index in the checkpoint of the layer after the last recursion (has_ends() alone).
  uint32_t LastLayer() const {
    switch (config_.router.type) {
      case RouterType::kExpertChoice:
        return config_.num_recursions + 1;
      case RouterType::kTokenChoice:
        return 2;
      case RouterType::kNone:
        break;
    }
    return config_.num_layers - 1;
  }

  // Prefixes of shared layer `j`, one for each recursion, the stored one first.
  Names BlockPrefixes(uint32_t j) const {
    const uint32_t first = config_.entry_layers();
    Names prefixes;
    for (uint32_t r = 0; r < config_.num_recursions; ++r) {
      switch (config_.router.type) {
        case RouterType::kExpertChoice:
          prefixes.push_back(absl::StrCat("model.layers.", first + r, ".block.", j, "."));
          break;
        case RouterType::kTokenChoice:
          prefixes.push_back(absl::StrCat("model.layers.1.block_list.", r, ".", j, "."));
          break;
        case RouterType::kNone: {
          const uint32_t layer = config_.repeats_in_place() ? j * config_.num_recursions + r
                                                            : r * config_.block_layers() + j;
          prefixes.push_back(absl::StrCat("model.layers.", first + layer, "."));
          break;
        }
      }
    }
    return prefixes;
  }

  void AddLayer(const Names& prefixes, LayerWeights* layer) {
    const uint64_t d = config_.hidden_size;
    const uint64_t ff = config_.intermediate_size;
    Add(AppendToAll(prefixes, "input_layernorm.weight"), {d}, TensorRole::kNorm,
        &layer->input_norm);
    // End layers belong to no recursion: they have one prefix and one set.
    const bool split = config_.per_recursion_attention && prefixes.size() > 1;
    layer->attention.resize(split ? prefixes.size() : 1);
    if (split) {
      for (size_t r = 0; r < prefixes.size(); ++r) {
        AddAttention({prefixes[r]}, &layer->attention[r]);
      }
    } else {
      AddAttention(prefixes, &layer->attention[0]);
    }
    Add(AppendToAll(prefixes, "post_attention_layernorm.weight"), {d}, TensorRole::kNorm,
        &layer->post_attention_norm);
    Add(AppendToAll(prefixes, "mlp.gate_proj.weight"), {ff, d}, TensorRole::kInner, &layer->gate);
    Add(AppendToAll(prefixes, "mlp.up_proj.weight"), {ff, d}, TensorRole::kInner, &layer->up);
    Add(AppendToAll(prefixes, "mlp.down_proj.weight"), {d, ff}, TensorRole::kResidual,
        &layer->down);
  }

  void AddAttention(const Names& prefixes, AttentionWeights* attention) {
    const uint64_t d = config_.hidden_size;
    const uint64_t q = uint64_t{config_.num_heads} * config_.head_dim;
    const uint64_t kv = uint64_t{config_.num_kv_heads} * config_.head_dim;
    Add(AppendToAll(prefixes, "self_attn.q_proj.weight"), {q, d}, TensorRole::kInner,
        &attention->q);
    Add(AppendToAll(prefixes, "self_attn.k_proj.weight"), {kv, d}, TensorRole::kInner,
        &attention->k);
    Add(AppendToAll(prefixes, "self_attn.v_proj.weight"), {kv, d}, TensorRole::kInner,
        &attention->v);
    Add(AppendToAll(prefixes, "self_attn.o_proj.weight"), {d, q}, TensorRole::kResidual,
        &attention->o);
  }

  void AddRouters() {
    const RouterConfig& router = config_.router;
    if (router.type == RouterType::kNone) return;
    if (router.type == RouterType::kTokenChoice) {
      weights_.routers.resize(1);
      AddRouter("model.layers.1.mor_router.", config_.num_recursions, &weights_.routers[0]);
      if (router.has_bias) {
        Add({"model.layers.1.router_bias"}, {config_.num_recursions}, TensorRole::kRouterBias,
            &weights_.router_bias);
      }
      return;
    }
    const bool auxiliary = router.sampling == RouterSampling::kAuxRouter;
    weights_.routers.resize(config_.num_recursions);
    weights_.aux_routers.resize(auxiliary ? config_.num_recursions : 0);
    for (uint32_t r = 0; r < config_.num_recursions; ++r) {
      const std::string layer = absl::StrCat("model.layers.", config_.entry_layers() + r, ".");
      AddRouter(absl::StrCat(layer, "mor_router."), 1, &weights_.routers[r]);
      if (auxiliary) AddRouter(absl::StrCat(layer, "mlp_router."), 1, &weights_.aux_routers[r]);
    }
  }

  void AddRouter(const std::string& prefix, uint64_t outputs, RouterWeights* router) {
    const uint64_t d = config_.hidden_size;
    if (config_.router.network == RouterNetwork::kLinear) {
      Add({prefix + "router.weight"}, {outputs, d}, TensorRole::kRouterIn, &router->out);
      return;
    }
    Add({prefix + "router.0.weight"}, {2 * d, d}, TensorRole::kRouterIn, &router->hidden);
    Add({prefix + "router.2.weight"}, {outputs, 2 * d}, TensorRole::kRouterInner, &router->out);
  }

  const ModelConfig& config_;
  Weights& weights_;
  std::vector<TensorSlot> slots_;
};

}  // namespace

std::vector<TensorSlot> LayOutTensors(const ModelConfig& config, Weights* weights) {
  return TensorLister(config, weights).List();
}

}  // namespace recurve
