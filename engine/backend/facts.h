// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BACKEND_FACTS_H_
#define RECURVE_ENGINE_BACKEND_FACTS_H_

#include <cstdint>
#include <limits>
#include <string>

namespace recurve {

// BackendFacts::arithmetic of those that keep to arithmetic.h.
inline constexpr char kReferenceArithmetic[] = "reference";

// What a backend is on this machine and for one model, known before it takes any memory.
struct BackendFacts {
  std::string name;    // such as "cpu"
  std::string device;  // what computes: of the CPU backend the instruction set
  // Whose bits the outputs have: backends with the same precisions, of weights and of keys and
  // values, and the same name here give the same ones. Empty: a request's bits depend on more than
  // the request.
  std::string arithmetic;
  uint32_t threads = 0;      // that compute
  uint64_t page_bytes = 0;   // of memory that one page takes, all told
  double memory_share = 0;   // of what memory is left for pages, what they take if nobody says more
  uint32_t queue_depth = 0;  // steps that are best queued behind the running one
  uint32_t max_slots = 0;
  uint32_t max_pages = std::numeric_limits<uint32_t>::max();
  bool computes = true;  // false: steps cost nothing that could be measured
};

}  // namespace recurve

#endif  // RECURVE_ENGINE_BACKEND_FACTS_H_
