// SPDX-License-Identifier: Apache-2.0
// Small random models of every kind that the schedule can tell apart.
#ifndef RECURVE_TESTS_ENGINE_SMALL_MODELS_H_
#define RECURVE_TESTS_ENGINE_SMALL_MODELS_H_

#include <memory>
#include <string>
#include <vector>

#include "engine/model/weights.h"

namespace recurve {

struct SmallModel {
  std::string name;
  std::shared_ptr<const Model> model;
};

// Hidden size 64, vocabulary 97, context 256.
std::vector<SmallModel> SmallModels();

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_SMALL_MODELS_H_
