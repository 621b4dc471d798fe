// SPDX-License-Identifier: Apache-2.0
#include "engine/fingerprint.h"

#include <cstring>
#include <functional>
#include <map>

#include "engine/assembly.h"
#include "engine/backend/facts.h"
#include "engine/model/tensor_layout.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint_writer.h"
#include "tests/engine/small_models.h"
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

// All that a fingerprint is made of.
struct Parts {
  Model model = *SmallModels()[3].model;
  Digest tokenizer = DigestOf(BytesOf("{}"));
  EngineOptions options;
  std::string arithmetic = kReferenceArithmetic;

  std::string Print(uint32_t threads = 1) const {
    return Fingerprint(model, tokenizer, options, arithmetic, threads);
  }
};

TEST(FingerprintTest, WhatChangesAnOutputChangesIt) {
  const std::map<std::string, std::function<void(Parts&)>> changes = {
      {"tokenizer", [](Parts& p) { p.tokenizer = DigestOf(BytesOf("{ }")); }},
      {"no tokenizer", [](Parts& p) { p.tokenizer = Digest(); }},
      {"arithmetic", [](Parts& p) { p.arithmetic = "cuda bf16 90"; }},
      {"family", [](Parts& p) { p.arithmetic = "cuda bf16 80"; }},
      {"precision", [](Parts& p) { p.options.model.precision = "f32"; }},
      {"precision of the cache", [](Parts& p) { p.options.model.kv_precision = "int8"; }},
      {"context", [](Parts& p) { p.options.memory.max_context = 77; }},
      {"default_max_tokens", [](Parts& p) { p.options.schedule.default_max_tokens = 77; }},
      {"eviction", [](Parts& p) { p.options.eviction.policy = "window"; }},
      {"budget", [](Parts& p) { p.options.eviction.budget = "1:50%"; }},
      {"sinks", [](Parts& p) { p.options.eviction.sinks = 5; }},
      {"recent", [](Parts& p) { p.options.eviction.recent = 5; }},
      {"evict_every", [](Parts& p) { p.options.eviction.every = 128; }},
      {"epsilon", [](Parts& p) { p.model.config.rms_norm_eps = 1e-6F; }},
      {"theta", [](Parts& p) { p.model.config.rope_theta = 5e5F; }},
      {"scaling", [](Parts& p) { p.model.config.rope_scaling.factor = 8.0F; }},
      {"eos", [](Parts& p) { p.model.config.eos_token_ids.push_back(7); }},
      {"kv mode", [](Parts& p) { p.model.config.kv_mode = KvMode::kShared; }},
      {"threshold", [](Parts& p) { p.model.config.router.threshold = 0.25F; }},
      {"alpha", [](Parts& p) { p.model.config.router.alpha = 0.25F; }},
      {"sharing", [](Parts& p) { p.model.config.tie_word_embeddings ^= true; }},
  };
  std::map<std::string, std::string> seen = {{Parts().Print(), "nothing"}};
  for (const auto& [name, change] : changes) {
    Parts parts;
    change(parts);
    const auto [found, fresh] = seen.emplace(parts.Print(), name);
    EXPECT_TRUE(fresh) << name << " is as " << found->second;
  }
}

TEST(FingerprintTest, EveryTensorCounts) {
  Parts before;
  const std::string print = before.Print();
  const size_t tensors = LayOutTensors(before.model.config, &before.model.weights).size();
  ASSERT_GT(tensors, 10U);
  for (size_t i = 0; i < tensors; ++i) {
    Parts parts;
    const TensorSlot slot = LayOutTensors(parts.model.config, &parts.model.weights)[i];
    const size_t bytes = size_t{slot.tensor->rows} * slot.tensor->columns * sizeof(float);
    ASSERT_EQ(slot.tensor->type, DataType::kF32);
    std::vector<std::byte> changed(bytes);
    std::memcpy(changed.data(), slot.tensor->data, bytes);
    slot.tensor->data = changed.data();
    EXPECT_EQ(parts.Print(), print) << "the same bytes elsewhere";
    changed.back() ^= std::byte{1};
    EXPECT_NE(parts.Print(), print) << slot.name;
  }
}

TEST(FingerprintTest, WhatChangesNoOutputDoesNotChangeIt) {
  const std::string print = Parts().Print();
  EXPECT_EQ(print.size(), 32U);
  for (const uint32_t threads : {2U, 5U}) EXPECT_EQ(Parts().Print(threads), print);
  Parts parts;
  parts.options.model.name = "another";
  parts.options.model.directory = "/elsewhere";
  parts.options.model.backend = "cuda";
  parts.options.model.threads = 7;
  parts.options.model.isa = "scalar";
  parts.options.schedule.slots = 3;
  parts.options.schedule.chunk = 5;
  parts.options.schedule.policy = "lockstep";
  parts.options.schedule.queue_depth = 1;
  parts.options.schedule.adaptive_depth = true;
  parts.options.schedule.max_queued_requests = 5;
  parts.options.memory.kv_pages = 100;
  parts.options.memory.prefix_cache = false;
  parts.model.warnings = {"something"};
  EXPECT_EQ(parts.Print(), print);
}

TEST(FingerprintTest, WithoutAnArithmeticThereIsNone) {
  Parts parts;
  parts.arithmetic = "";
  EXPECT_EQ(parts.Print(), "");
}

TEST(FingerprintTest, EnginesTellIt) {
  const auto print_of = [](const std::function<void(EngineOptions&)>& change) {
    const ScopedDirectory directory;
    WriteSmallModel(directory);
    EngineOptions options;
    options.model.directory = directory.path();
    change(options);
    absl::StatusOr<Assembly> assembly = Assemble(options);
    return assembly.ok() ? assembly->info.fingerprint : std::string(assembly.status().message());
  };
  const std::string print = print_of([](EngineOptions&) {});
  EXPECT_EQ(print.size(), 32U) << print;
  EXPECT_EQ(print_of([](EngineOptions& options) {
              options.model.threads = 1;
              options.model.isa = "scalar";
              options.schedule.chunk = 16;
              options.schedule.slots = 2;
              options.schedule.policy = "lockstep";
            }),
            print);
  EXPECT_NE(print_of([](EngineOptions& options) { options.model.precision = "f32"; }), print);
  EXPECT_NE(print_of([](EngineOptions& options) { options.model.precision = "int8"; }), print);
  EXPECT_NE(print_of([](EngineOptions& options) { options.model.kv_precision = "int8"; }), print);
  // What auto stands for, by its name.
  EXPECT_EQ(print_of([](EngineOptions& options) { options.model.kv_precision = "bf16"; }), print);
}

}  // namespace
}  // namespace recurve
