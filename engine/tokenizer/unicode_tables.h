// SPDX-License-Identifier: Apache-2.0
// The tables that tools/unicode/generate.py writes into unicode_tables.cc. Private to unicode.cc.
#ifndef RECURVE_ENGINE_TOKENIZER_UNICODE_TABLES_H_
#define RECURVE_ENGINE_TOKENIZER_UNICODE_TABLES_H_

#include <cstdint>
#include <span>

namespace recurve::unicode_tables {

struct Decomposition {
  uint32_t code_point;
  uint16_t begin;   // in kDecompositionPool
  uint16_t length;  // 1 to 4
};

struct Composition {
  uint32_t first;
  uint32_t second;
  uint32_t composed;
};

extern const std::span<const uint32_t> kClasses;    // run start << 8 | CharacterClass bits
extern const std::span<const uint32_t> kCombining;  // run start << 8 | combining class
extern const std::span<const Decomposition> kDecompositions;  // sorted by code point; no Hangul
extern const std::span<const char32_t> kDecompositionPool;
extern const std::span<const Composition> kCompositions;  // sorted by (first, second); no Hangul

}  // namespace recurve::unicode_tables

#endif  // RECURVE_ENGINE_TOKENIZER_UNICODE_TABLES_H_
