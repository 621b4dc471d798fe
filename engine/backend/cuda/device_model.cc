// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/device_model.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/arithmetic.h"
#include "engine/backend/convert.h"
#include "engine/backend/cuda/packed_matrix.h"
#include "engine/backend/cuda/tensor_core.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/model/weight_pass.h"

namespace recurve::cuda {
namespace {

class Loader {
 public:
  Loader(Runtime& runtime, const Model& model, Precision precision, bool has_library)
      : pass_(model, "copying weights to the device"),
        runtime_(runtime),
        config_(model.config),
        precision_(precision),
        has_library_(has_library) {}

  // A tensor that is no layer's has been copied.
  void Passed(const Tensor& tensor) { pass_.Passed(tensor); }

  // sets: the parts of each set, all of one shape. `order` is for the tensor cores.
  absl::StatusOr<DeviceMatrix> Matrix(std::string_view name, const std::vector<MatrixParts>& sets,
                                      OutputOrder order = {}) {
    return precision_ == Precision::kBf16 ? Packed(name, sets, order) : Floats(name, sets);
  }

  // A matrix of a layer, which the library may multiply with too.
  absl::StatusOr<DeviceMatrix> OfLayer(const std::string& name,
                                       const std::vector<MatrixParts>& sets,
                                       OutputOrder order = {}) {
    ASSIGN_OR_RETURN(DeviceMatrix matrix, Matrix(name, sets, order));
    if (has_library_ && sets.size() == 1) {
      RETURN_IF_ERROR(Store(name + ", plain", PlainMatrix(sets[0], order), &matrix.plain));
    }
    return matrix;
  }

  absl::StatusOr<DeviceMatrix> Floats(std::string_view name, const std::vector<MatrixParts>& sets) {
    DeviceMatrix matrix = ShapeOf(sets);
    std::vector<float> floats(matrix.elements());
    std::vector<float> row(matrix.inputs);
    size_t first = 0;  // of the set
    for (const MatrixParts& parts : sets) {
      uint32_t output = 0;
      for (const Tensor& part : parts) {
        RECURVE_CHECK(part.columns == matrix.inputs);
        for (uint32_t i = 0; i < part.rows; ++i, ++output) {
          ConvertRow(part, i, row.data());
          for (uint32_t k = 0; k < matrix.inputs; ++k) {
            floats[first + size_t{k} * matrix.outputs + output] = row[k];
          }
        }
      }
      first += size_t{matrix.inputs} * matrix.outputs;
    }
    RETURN_IF_ERROR(Store(name, floats, &matrix.memory));
    return matrix;
  }

  // The rows as they lie, as floats: `inputs` rows of `outputs` numbers.
  absl::StatusOr<DeviceMatrix> Rows(std::string_view name, const Tensor& tensor) {
    DeviceMatrix matrix;
    matrix.sets = 1;
    matrix.inputs = tensor.rows;
    matrix.outputs = tensor.columns;
    std::vector<float> floats(matrix.elements());
    for (uint32_t i = 0; i < tensor.rows; ++i) {
      ConvertRow(tensor, i, &floats[size_t{i} * tensor.columns]);
    }
    RETURN_IF_ERROR(Store(name, floats, &matrix.memory));
    return matrix;
  }

  // The same in the model's precision.
  absl::StatusOr<DeviceMatrix> Embedding(std::string_view name, const Tensor& tensor) {
    if (precision_ == Precision::kF32) return Rows(name, tensor);
    DeviceMatrix matrix;
    matrix.sets = 1;
    matrix.inputs = tensor.rows;
    matrix.outputs = tensor.columns;
    std::vector<Bf16> values(matrix.elements());
    std::vector<float> row(tensor.columns);
    for (uint32_t i = 0; i < tensor.rows; ++i) {
      ConvertRow(tensor, i, row.data());
      std::transform(row.begin(), row.end(), &values[size_t{i} * tensor.columns], FloatToBf16);
    }
    RETURN_IF_ERROR(Store(name, values, &matrix.memory));
    return matrix;
  }

  absl::StatusOr<std::vector<DeviceLayer>> Layers(const char* where,
                                                  const std::vector<LayerWeights>& weights) {
    std::vector<DeviceLayer> layers;
    for (const LayerWeights& of_layer : weights) {
      const std::string name = absl::StrCat(where, " layer ", layers.size(), ": ");
      DeviceLayer layer;
      std::vector<MatrixParts> qkv, o;
      for (const AttentionWeights& attention : of_layer.attention) {
        qkv.push_back({attention.q, attention.k, attention.v});
        o.push_back({attention.o});
      }
      ASSIGN_OR_RETURN(layer.input_norm, Rows(name + "input norm", of_layer.input_norm));
      ASSIGN_OR_RETURN(layer.post_attention_norm,
                       Rows(name + "post-attention norm", of_layer.post_attention_norm));
      ASSIGN_OR_RETURN(layer.qkv, OfLayer(name + "qkv", qkv, {config_.head_dim / 2}));
      ASSIGN_OR_RETURN(layer.o, OfLayer(name + "o", o));
      if (precision_ == Precision::kBf16) {
        ASSIGN_OR_RETURN(layer.gate_up,
                         OfLayer(name + "gate and up", {{of_layer.gate, of_layer.up}},
                                 {config_.intermediate_size}));
      } else {
        ASSIGN_OR_RETURN(layer.gate, Matrix(name + "gate", {{of_layer.gate}}));
        ASSIGN_OR_RETURN(layer.up, Matrix(name + "up", {{of_layer.up}}));
      }
      ASSIGN_OR_RETURN(layer.down, OfLayer(name + "down", {{of_layer.down}}));
      layers.push_back(layer);
      pass_.Passed(of_layer);
    }
    return layers;
  }

  absl::StatusOr<std::vector<DeviceRouter>> Routers(const char* what,
                                                    const std::vector<RouterWeights>& weights) {
    std::vector<DeviceRouter> routers;
    for (const RouterWeights& of_router : weights) {
      const std::string name = absl::StrCat(what, " ", routers.size());
      DeviceRouter router;
      if (of_router.hidden.data != nullptr) {
        ASSIGN_OR_RETURN(router.hidden, Floats(name + ": hidden", {{of_router.hidden}}));
      }
      ASSIGN_OR_RETURN(router.out, Rows(name + ": out", of_router.out));
      routers.push_back(router);
    }
    return routers;
  }

 private:
  static DeviceMatrix ShapeOf(const std::vector<MatrixParts>& sets) {
    DeviceMatrix matrix;
    matrix.sets = static_cast<uint32_t>(sets.size());
    matrix.inputs = sets[0][0].columns;
    for (const Tensor& part : sets[0]) matrix.outputs += part.rows;
    return matrix;
  }

  absl::StatusOr<DeviceMatrix> Packed(std::string_view name, const std::vector<MatrixParts>& sets,
                                      OutputOrder order) {
    DeviceMatrix matrix = ShapeOf(sets);
    matrix.tiles = TilesOf(matrix.outputs, order);
    const size_t fragments = PackedFragments(matrix.inputs, matrix.outputs, order);
    std::vector<simt::Words4> packed(sets.size() * fragments);
    for (size_t set = 0; set < sets.size(); ++set) {
      PackMatrix(sets[set], order, &packed[set * fragments]);
    }
    RETURN_IF_ERROR(Store(name, packed, &matrix.memory));
    return matrix;
  }

  template <typename T>
  absl::Status Store(std::string_view name, const std::vector<T>& values, DeviceMemory* memory) {
    const size_t bytes = values.size() * sizeof(T);
    ASSIGN_OR_RETURN(*memory, runtime_.Allocate(name, bytes));
    return runtime_.Upload(*memory, 0, values.data(), bytes);
  }

  WeightPass pass_;
  Runtime& runtime_;
  const ModelConfig& config_;
  const Precision precision_;
  const bool has_library_;
};

}  // namespace

absl::StatusOr<DeviceModel> LoadDeviceModel(Runtime& runtime, std::shared_ptr<const Model> model,
                                            Precision precision, bool has_library) {
  Loader loader(runtime, *model, precision, has_library);
  const Weights& weights = model->weights;
  DeviceModel device;
  ASSIGN_OR_RETURN(device.embedding, loader.Embedding("embedding", weights.embedding));
  loader.Passed(weights.embedding);
  ASSIGN_OR_RETURN(device.entry, loader.Layers("entry", weights.entry));
  ASSIGN_OR_RETURN(device.block, loader.Layers("block", weights.block));
  ASSIGN_OR_RETURN(device.exit, loader.Layers("exit", weights.exit));
  ASSIGN_OR_RETURN(device.final_norm, loader.Rows("final norm", weights.final_norm));
  ASSIGN_OR_RETURN(device.lm_head, loader.Matrix("lm_head", {{weights.lm_head}}));
  loader.Passed(weights.lm_head);
  ASSIGN_OR_RETURN(device.routers, loader.Routers("router", weights.routers));
  ASSIGN_OR_RETURN(device.aux_routers, loader.Routers("auxiliary router", weights.aux_routers));
  if (weights.router_bias.data != nullptr) {
    ASSIGN_OR_RETURN(device.router_bias, loader.Rows("router bias", weights.router_bias));
  }
  device.source = std::move(model);
  return device;
}

}  // namespace recurve::cuda
