// SPDX-License-Identifier: Apache-2.0
// The backends over which tests run.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_TEST_BACKENDS_H_
#define RECURVE_TESTS_ENGINE_BACKEND_TEST_BACKENDS_H_

#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/backend/factory/make_backend.h"
#include "engine/model/config.h"
#include "gtest/gtest.h"

namespace recurve {

// Of a model that has every part, in odd sizes.
inline ModelConfig TestConfig(RouterType router = RouterType::kExpertChoice,
                              KvMode kv_mode = KvMode::kRecursionWise) {
  ModelConfig config;
  config.vocab_size = 150;
  config.hidden_size = 48;
  config.intermediate_size = 72;
  config.num_layers = 8;
  config.num_heads = 6;
  config.num_kv_heads = 2;
  config.head_dim = 12;
  config.max_positions = 96;
  config.sharing = Sharing::kMiddleCycle;
  config.num_recursions = 3;
  config.kv_mode = kv_mode;
  config.router.type = router;
  if (router == RouterType::kTokenChoice) config.router.function = RouterFunction::kSoftmax;
  return config;
}

// All of these give the same bits in f32, and the CPU's in bf16 too.
struct TestBackend {
  std::string name;
  std::string isa = "auto";  // of the CPU backend, as --isa
  bool twin = false;     // with the first of TestBackends() beside it, each step's results compared
  bool is_cuda = false;  // the CUDA backend, whose bits in bf16 are its own
  bool emulated = false;  // on an emulated device, which is slow, instead of a card
};

// The CPU backend as it is without being told.
inline TestBackend FastBackend() { return {.name = "fastest"}; }

// The CPU backend with each instruction set, the plain one first, and what else the build has.
inline std::vector<TestBackend> TestBackends() {
  std::vector<TestBackend> backends;
  for (const char* isa : {"scalar", "neon", "avx2", "avx512", "amx"}) {
    backends.push_back({.name = isa, .isa = isa});
  }
#if defined(RECURVE_HAS_EMULATED_CUDA)
  backends.push_back({.name = "emulated_cuda", .is_cuda = true, .emulated = true});
#endif
  backends.push_back({.name = "cuda", .is_cuda = true});
  return backends;
}

// For tests of what runs on a backend: the first of TestBackends(), and the others as its twins.
// Under a sanitizer, which costs ten times the time and looks for other errors than changed bits,
// the fastest one alone.
inline std::vector<TestBackend> TestTwins() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return {FastBackend()};
#else
  std::vector<TestBackend> backends = TestBackends();
  for (size_t i = 1; i < backends.size(); ++i) backends[i].twin = true;
  return backends;
#endif
}

// One thread; tests that want more say so. An emulated device needs no more of the machine than the
// CPU backend does.
inline BackendOptions OptionsOf(const TestBackend& backend, Precision precision) {
  BackendOptions options;
  options.precision = precision;
  if (backend.is_cuda && !backend.emulated) {
    options.name = "cuda";
    return options;
  }
  options.threads = 1;
  options.isa = backend.isa;
  return options;
}

// Why this machine has not the backend; empty: it has.
inline std::string WhySkipped(const TestBackend& backend) {
  const absl::Status status = OpenBackend(OptionsOf(backend, Precision::kF32)).status();
  return std::string(status.message());
}

inline std::string NameOf(const TestBackend& backend) {
  return absl::StrCat(backend.name, backend.twin ? "_twin" : "");
}

// What GoogleTest prints of a parameter; by itself it prints bytes, among them addresses.
inline void PrintTo(const TestBackend& backend, std::ostream* out) { *out << NameOf(backend); }

// For INSTANTIATE_TEST_SUITE_P.
inline std::string NameOfParam(const testing::TestParamInfo<TestBackend>& info) {
  return NameOf(info.param);
}

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_BACKEND_TEST_BACKENDS_H_
