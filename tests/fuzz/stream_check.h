// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_FUZZ_STREAM_CHECK_H_
#define RECURVE_TESTS_FUZZ_STREAM_CHECK_H_

#include <cstdint>
#include <span>

#include "engine/tokenizer/text_stream.h"
#include "engine/tokenizer/tokenizer.h"

namespace recurve {

// Streams `ids` and aborts unless the text is that of Tokenizer::Decode, cut at the first stop
// string that counts as a plain search of the whole text finds it, in tokens that come in order,
// each once. Stop strings must be valid.
void CheckTextStream(const Tokenizer& tokenizer, std::span<const TokenId> ids,
                     const TextStreamOptions& options);

}  // namespace recurve

#endif  // RECURVE_TESTS_FUZZ_STREAM_CHECK_H_
