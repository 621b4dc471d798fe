// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cpu/packed_model.h"

#include <algorithm>
#include <utility>

#include "absl/types/span.h"
#include "engine/backend/convert.h"
#include "engine/backend/cpu/kernels/huge_buffer.h"
#include "engine/backend/cpu/kernels/kernels.h"
#include "engine/base/status_macros.h"
#include "engine/model/weight_pass.h"

namespace recurve {
namespace {

using Order = PackedMatrix::Order;

class Packer {
 public:
  Packer(const Model& model, Precision precision, ThreadTeam& team)
      : pass_(model, "packing weights"), precision_(precision), team_(team) {}

  absl::StatusOr<PackedMatrix> Matrix(absl::Span<const Tensor> parts, Order order,
                                      Precision precision) {
    ASSIGN_OR_RETURN(PackedMatrix matrix, PackedMatrix::Create(parts, order, precision, arena_));
    team_.Run([&](uint32_t thread) {
      const uint64_t panels = matrix.panels();
      matrix.Fill(parts, static_cast<uint32_t>(panels * thread / team_.size()),
                  static_cast<uint32_t>(panels * (thread + 1) / team_.size()));
    });
    return matrix;
  }

  absl::StatusOr<PackedMatrix> Matrix(absl::Span<const Tensor> parts, Order order) {
    return Matrix(parts, order, precision_);
  }

  absl::StatusOr<PackedLayer> Layer(const LayerWeights& weights) {
    PackedLayer layer;
    layer.input_norm = Floats(weights.input_norm);
    layer.post_attention_norm = Floats(weights.post_attention_norm);
    for (const AttentionWeights& attention : weights.attention) {
      PackedAttention packed;
      ASSIGN_OR_RETURN(packed.qkv,
                       Matrix({attention.q, attention.k, attention.v}, Order::kConcatenated));
      ASSIGN_OR_RETURN(packed.o, Matrix({attention.o}, Order::kConcatenated));
      layer.attention.push_back(std::move(packed));
    }
    ASSIGN_OR_RETURN(layer.gate_up, Matrix({weights.gate, weights.up}, Order::kInterleaved));
    ASSIGN_OR_RETURN(layer.down, Matrix({weights.down}, Order::kConcatenated));
    return layer;
  }

  absl::StatusOr<std::vector<PackedLayer>> Layers(const std::vector<LayerWeights>& weights) {
    std::vector<PackedLayer> layers;
    for (const LayerWeights& layer : weights) {
      ASSIGN_OR_RETURN(PackedLayer packed, Layer(layer));
      layers.push_back(std::move(packed));
      pass_.Passed(layer);
    }
    return layers;
  }

  absl::StatusOr<std::vector<PackedRouter>> Routers(const std::vector<RouterWeights>& weights) {
    std::vector<PackedRouter> routers;
    for (const RouterWeights& router : weights) {
      PackedRouter packed;
      if (router.hidden.data != nullptr) {
        ASSIGN_OR_RETURN(packed.hidden,
                         Matrix({router.hidden}, Order::kConcatenated, Precision::kF32));
      }
      packed.out = Floats(router.out);
      packed.outputs = router.out.rows;
      packed.inputs = router.out.columns;
      routers.push_back(std::move(packed));
      pass_.Passed(router.hidden);
      pass_.Passed(router.out);
    }
    return routers;
  }

  // Of the head, or of the embedding.
  absl::StatusOr<PackedMatrix> Vocabulary(const Tensor& weights) {
    ASSIGN_OR_RETURN(PackedMatrix matrix, Matrix({weights}, Order::kConcatenated));
    pass_.Passed(weights);
    return matrix;
  }

  static std::vector<float> Floats(const Tensor& tensor) {
    std::vector<float> floats(size_t{tensor.rows} * tensor.columns);
    for (uint32_t row = 0; row < tensor.rows; ++row) {
      ConvertRow(tensor, row, &floats[size_t{row} * tensor.columns]);
    }
    return floats;
  }

 private:
  WeightPass pass_;
  const Precision precision_;
  ThreadTeam& team_;
  HugeArena arena_;
};

size_t LinearScratch(const std::vector<PackedLayer>& layers) {
  size_t floats = 0;
  for (const PackedLayer& layer : layers) {
    for (const PackedAttention& attention : layer.attention) {
      floats = std::max({floats, LinearScratch(attention.qkv), LinearScratch(attention.o)});
    }
    floats = std::max({floats, LinearScratch(layer.gate_up), LinearScratch(layer.down)});
  }
  return floats;
}

}  // namespace

absl::StatusOr<PackedModel> PackModel(std::shared_ptr<const Model> model, Precision precision,
                                      ThreadTeam& team) {
  Packer packer(*model, precision, team);
  const Weights& weights = model->weights;
  PackedModel packed;
  ASSIGN_OR_RETURN(packed.entry, packer.Layers(weights.entry));
  ASSIGN_OR_RETURN(packed.block, packer.Layers(weights.block));
  ASSIGN_OR_RETURN(packed.exit, packer.Layers(weights.exit));
  ASSIGN_OR_RETURN(packed.lm_head, packer.Vocabulary(weights.lm_head));
  if (precision == Precision::kInt8 && weights.embedding.data != weights.lm_head.data) {
    ASSIGN_OR_RETURN(packed.embedding, packer.Vocabulary(weights.embedding));
  }
  ASSIGN_OR_RETURN(packed.routers, packer.Routers(weights.routers));
  ASSIGN_OR_RETURN(packed.aux_routers, packer.Routers(weights.aux_routers));
  packed.final_norm = Packer::Floats(weights.final_norm);
  if (weights.router_bias.data != nullptr) packed.router_bias = Packer::Floats(weights.router_bias);
  packed.source = std::move(model);
  return packed;
}

void PackedModel::Embed(uint32_t token, float* out) const {
  if (lm_head.precision() != Precision::kInt8) {
    ConvertRow(source->weights.embedding, token, out);
  } else if (embedding.panels() > 0) {
    embedding.Row(token, out);
  } else {
    lm_head.Row(token, out);
  }
}

size_t LinearScratch(const PackedModel& model) {
  size_t floats = std::max({LinearScratch(model.entry), LinearScratch(model.block),
                            LinearScratch(model.exit), LinearScratch(model.lm_head)});
  for (const PackedRouter& router : model.routers) {
    floats = std::max(floats, LinearScratch(router.hidden));
  }
  for (const PackedRouter& router : model.aux_routers) {
    floats = std::max(floats, LinearScratch(router.hidden));
  }
  return floats;
}

}  // namespace recurve
