// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/device_model.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/convert.h"
#include "engine/base/check.h"
#include "engine/base/status_macros.h"

namespace recurve::cuda {
namespace {

using Parts = std::vector<Tensor>;  // whose rows are a matrix's outputs, one after the other

class Loader {
 public:
  explicit Loader(Runtime& runtime) : runtime_(runtime) {}

  // sets: the parts of each set, all of one shape.
  absl::StatusOr<DeviceMatrix> Matrix(std::string_view name, const std::vector<Parts>& sets) {
    DeviceMatrix matrix;
    matrix.sets = static_cast<uint32_t>(sets.size());
    matrix.inputs = sets[0][0].columns;
    for (const Tensor& part : sets[0]) matrix.outputs += part.rows;
    std::vector<float> floats(matrix.elements());
    std::vector<float> row(matrix.inputs);
    size_t first = 0;  // of the set
    for (const Parts& parts : sets) {
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
    RETURN_IF_ERROR(Store(name, floats, &matrix));
    return matrix;
  }

  // The rows as they lie: `inputs` rows of `outputs` numbers.
  absl::StatusOr<DeviceMatrix> Rows(std::string_view name, const Tensor& tensor) {
    DeviceMatrix matrix;
    matrix.sets = 1;
    matrix.inputs = tensor.rows;
    matrix.outputs = tensor.columns;
    std::vector<float> floats(matrix.elements());
    for (uint32_t i = 0; i < tensor.rows; ++i) {
      ConvertRow(tensor, i, &floats[size_t{i} * tensor.columns]);
    }
    RETURN_IF_ERROR(Store(name, floats, &matrix));
    return matrix;
  }

  absl::StatusOr<std::vector<DeviceLayer>> Layers(const char* where,
                                                  const std::vector<LayerWeights>& weights) {
    std::vector<DeviceLayer> layers;
    for (const LayerWeights& of_layer : weights) {
      const std::string name = absl::StrCat(where, " layer ", layers.size(), ": ");
      DeviceLayer layer;
      std::vector<Parts> qkv, o;
      for (const AttentionWeights& attention : of_layer.attention) {
        qkv.push_back({attention.q, attention.k, attention.v});
        o.push_back({attention.o});
      }
      ASSIGN_OR_RETURN(layer.input_norm, Rows(name + "input norm", of_layer.input_norm));
      ASSIGN_OR_RETURN(layer.post_attention_norm,
                       Rows(name + "post-attention norm", of_layer.post_attention_norm));
      ASSIGN_OR_RETURN(layer.qkv, Matrix(name + "qkv", qkv));
      ASSIGN_OR_RETURN(layer.o, Matrix(name + "o", o));
      ASSIGN_OR_RETURN(layer.gate, Matrix(name + "gate", {{of_layer.gate}}));
      ASSIGN_OR_RETURN(layer.up, Matrix(name + "up", {{of_layer.up}}));
      ASSIGN_OR_RETURN(layer.down, Matrix(name + "down", {{of_layer.down}}));
      layers.push_back(std::move(layer));
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
        ASSIGN_OR_RETURN(router.hidden, Matrix(name + ": hidden", {{of_router.hidden}}));
      }
      ASSIGN_OR_RETURN(router.out, Rows(name + ": out", of_router.out));
      routers.push_back(std::move(router));
    }
    return routers;
  }

 private:
  absl::Status Store(std::string_view name, const std::vector<float>& floats,
                     DeviceMatrix* matrix) {
    const size_t bytes = floats.size() * sizeof(float);
    ASSIGN_OR_RETURN(matrix->memory, runtime_.Allocate(name, bytes));
    return runtime_.Upload(matrix->memory, 0, floats.data(), bytes);
  }

  Runtime& runtime_;
};

}  // namespace

absl::StatusOr<DeviceModel> LoadDeviceModel(Runtime& runtime, std::shared_ptr<const Model> model) {
  Loader loader(runtime);
  const Weights& weights = model->weights;
  DeviceModel device;
  ASSIGN_OR_RETURN(device.embedding, loader.Rows("embedding", weights.embedding));
  ASSIGN_OR_RETURN(device.entry, loader.Layers("entry", weights.entry));
  ASSIGN_OR_RETURN(device.block, loader.Layers("block", weights.block));
  ASSIGN_OR_RETURN(device.exit, loader.Layers("exit", weights.exit));
  ASSIGN_OR_RETURN(device.final_norm, loader.Rows("final norm", weights.final_norm));
  ASSIGN_OR_RETURN(device.lm_head, loader.Matrix("lm_head", {{weights.lm_head}}));
  ASSIGN_OR_RETURN(device.routers, loader.Routers("router", weights.routers));
  ASSIGN_OR_RETURN(device.aux_routers, loader.Routers("auxiliary router", weights.aux_routers));
  if (weights.router_bias.data != nullptr) {
    ASSIGN_OR_RETURN(device.router_bias, loader.Rows("router bias", weights.router_bias));
  }
  device.source = std::move(model);
  return device;
}

}  // namespace recurve::cuda
