// SPDX-License-Identifier: Apache-2.0
#include "engine/model/weight_pass.h"

#include <cstdint>
#include <utility>

#include "engine/base/mapped_file.h"
#include "engine/base/progress.h"

namespace recurve {

WeightPass::WeightPass(const Model& model, std::string what) : model_(model) {
  if (model.progress == nullptr) return;
  uint64_t bytes = 0;
  for (const auto& file : model.files) bytes += file->bytes().size();
  model.progress->Begin(std::move(what), bytes);
}

void WeightPass::Passed(const Tensor& tensor) { Passed(tensor.bytes()); }

void WeightPass::Passed(const LayerWeights& layer) {
  for (const Tensor& tensor : TensorsOf(layer)) Passed(tensor);
}

void WeightPass::Passed(std::span<const std::byte> bytes) {
  if (model_.progress != nullptr) model_.progress->Add(bytes.size());
  for (const auto& file : model_.files) file->Release(bytes);
}

}  // namespace recurve
