// SPDX-License-Identifier: Apache-2.0
#include "engine/fingerprint.h"

#include <array>
#include <bit>
#include <cstring>
#include <span>
#include <type_traits>

#include "engine/base/digest.h"
#include "engine/model/tensor_layout.h"
#include "engine/model/weight_pass.h"

namespace recurve {
namespace {

// Collects values so that different sequences of them are different bytes: each is eight bytes, and
// what has a length says it first.
class Values {
 public:
  explicit Values(uint32_t threads) : threads_(threads) {}

  template <typename... T>
  void Add(const T&... values) {
    (AddOne(values), ...);
  }

  std::string ToHex() const { return DigestOf(BytesOf(bytes_)).ToHex(); }

 private:
  template <typename T>
  requires(std::is_integral_v<T> || std::is_enum_v<T>) void AddOne(T value) {
    const auto word = static_cast<uint64_t>(value);
    bytes_.append(reinterpret_cast<const char*>(&word), sizeof(word));
  }
  void AddOne(float value) { AddOne(std::bit_cast<uint32_t>(value)); }
  void AddOne(std::string_view text) {
    AddOne(text.size());
    bytes_ += text;
  }
  void AddOne(const std::string& text) { AddOne(std::string_view(text)); }
  void AddOne(const Digest& digest) { Add(digest.words[0], digest.words[1]); }
  void AddOne(const std::vector<TokenId>& ids) {
    AddOne(ids.size());
    for (const TokenId id : ids) AddOne(id);
  }

  // The names of all fields, so that none that is added later is forgotten here.
  void AddOne(const RopeScaling& scaling) {
    const auto& [type, factor, low, high, positions] = scaling;
    Add(type, factor, low, high, positions);
  }
  void AddOne(const RouterConfig& router) {
    const auto& [type, network, function, alpha, temperature, weighted, sampling, threshold, bias] =
        router;
    Add(type, network, function, alpha, temperature, weighted, sampling, threshold, bias);
  }
  void AddOne(const ModelConfig& config) {
    const auto& [vocab, hidden, intermediate, layers, heads, kv_heads, head_dim, positions, epsilon,
                 theta, scaling, tied, eos, sharing, recursions, kv_mode, per_recursion, router] =
        config;
    Add(vocab, hidden, intermediate, layers, heads, kv_heads, head_dim, positions, epsilon, theta,
        scaling, tied, eos, sharing, recursions, kv_mode, per_recursion, router);
  }
  void AddOne(const EvictionOptions& eviction) {
    const auto& [policy, budget, sinks, recent, every] = eviction;
    Add(policy, budget, sinks, recent, every);
  }
  void AddOne(const Tensor& tensor) {
    Add(tensor.type, tensor.rows, tensor.columns);
    AddOne(DigestOfMuch(tensor.bytes(), threads_));
  }

  const uint32_t threads_;
  std::string bytes_;
};

}  // namespace

std::string Fingerprint(const Model& model, const Digest& tokenizer, const EngineOptions& options,
                        std::string_view arithmetic, uint32_t threads) {
  if (arithmetic.empty()) return "";
  Values values(threads);
  values.Add(kOutputVersion, arithmetic, options.model.precision, options.model.kv_precision,
             model.config);
  values.Add(tokenizer, options.memory.max_context, options.schedule.default_max_tokens,
             options.eviction);
  WeightPass pass(model, "taking the weights' fingerprint");
  Weights weights = model.weights;  // views; LayOutTensors makes lists of their tensors
  for (const TensorSlot& slot : LayOutTensors(model.config, &weights)) {
    values.Add(*slot.tensor);
    pass.Passed(*slot.tensor);
  }
  return values.ToHex();
}

}  // namespace recurve
