// SPDX-License-Identifier: Apache-2.0
// What an engine can be told, one struct a concern. A field's comment is its flag's help.
#ifndef RECURVE_ENGINE_API_OPTIONS_H_
#define RECURVE_ENGINE_API_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "engine/api/limits.h"

namespace recurve {

struct ModelOptions {
  std::string directory;        // model directory: config.json, *.safetensors, tokenizer.json
  std::string name;             // name reported to clients; default: the directory's last component
  std::string backend = "cpu";  // cpu; cuda where the build has it; null
  std::string precision = "bf16";  // of weights and products: f32, bf16 or int8
  // Of keys and values in the cache: f32, bf16 or int8; auto: f32 with precision=f32, else bf16.
  std::string kv_precision = "auto";
  // Of the CPU backend; 0 (auto): those that affinity and the cgroup's CPU quota allow.
  uint32_t threads = 0;
  // Of the CPU backend: the instruction set of its kernels, scalar, neon, avx2, avx512 or amx;
  // auto: the fastest that the machine has. Same bits.
  std::string isa = "auto";
  // Of the backend cuda: the card's number among those that the driver shows, and whether each
  // kernel is launched by itself instead of in a graph, so that an error names it.
  uint32_t device = 0;
  bool cuda_eager = false;
  bool cuda_overlap = true;  // whether kernels may begin before the one before them has ended
  // Of cuda in bf16; false: products of many rows are cuBLASLt's, whose bits depend on more.
  bool deterministic = true;

  bool operator==(const ModelOptions&) const = default;
};

struct ScheduleLimits : StepLimits, AdmissionLimits {
  // When EXIT and ENTRY run: staged (when so many rows wait that it costs least), depthwise (every
  // step) or lockstep (only when no row waits for the block).
  std::string policy = "staged";
  // While requests wait longer than the goal, new tokens of those that allow it run fewer
  // recursions.
  bool adaptive_depth = false;
  std::chrono::milliseconds queue_time_goal{500};
  std::optional<uint32_t> queue_depth;  // steps queued behind the running one, 0 or 1; unset
                                        // (auto): as many as the backend is best with
  // A step that has not come back after this long never will: the engine has failed.
  std::chrono::milliseconds step_timeout{30000};

  bool operator==(const ScheduleLimits&) const = default;
};

struct MemoryOptions {
  uint32_t kv_pages = 0;  // in the pool of cache pages; 0 (auto): what slots at full context need,
                          // at most kv_memory_share of the memory that is free
  // Of the memory that is free for pages (the cgroup's limit honoured), what kv_pages=auto may
  // take; unset (auto): what suits the backend.
  std::optional<double> kv_memory_share;
  uint32_t max_context = 0;  // prompt and new tokens of a request; 0: the model's
  bool prefix_cache = true;  // whether prompts that begin alike are computed once

  bool operator==(const MemoryOptions&) const = default;
};

// What sequences may keep in the cache. A request may say otherwise, but for `every`.
struct EvictionOptions {
  std::string policy = "none";  // which entries go: none, window (the oldest), attention (those
                                // that got least of it), router (those whose router was least sure)
  std::string budget;           // entries that each cache group may hold, such as
                                // "entry:256,1:256,2:50%,3:50%,exit:256"; groups left out are free
  uint32_t sinks = 4;           // first entries of a group, which stay
  uint32_t recent = 32;         // last entries of a group, which stay
  uint32_t every = 256;         // entries go at positions that are multiples of this

  bool operator==(const EvictionOptions&) const = default;
};

struct EngineOptions {
  ModelOptions model;
  ScheduleLimits schedule;
  MemoryOptions memory;
  EvictionOptions eviction;

  bool operator==(const EngineOptions&) const = default;
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_API_OPTIONS_H_
