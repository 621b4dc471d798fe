// SPDX-License-Identifier: Apache-2.0
// What a tokenizer.json says of the text's way to the model and around it: normalizer,
// pre-tokenizer and post-processor.
#ifndef RECURVE_ENGINE_TOKENIZER_PIPELINE_CONFIG_H_
#define RECURVE_ENGINE_TOKENIZER_PIPELINE_CONFIG_H_

#include "absl/status/status.h"
#include "engine/tokenizer/tokenizer_config.h"
#include "engine/tokenizer/tokenizer_json.h"

namespace recurve::tokenizer_json {

// Each reads its part of `root`, a whole tokenizer.json, into `config`: `nfc`; the pattern, digits
// and prefixed spaces; `post`, whose ids are not checked. INVALID_ARGUMENT as of
// ParseTokenizerConfig.
absl::Status ReadNormalizer(const Json& root, TokenizerConfig* config);
absl::Status ReadPreTokenizer(const Json& root, TokenizerConfig* config);
absl::Status ReadPostProcessors(const Json& root, TokenizerConfig* config);

}  // namespace recurve::tokenizer_json

#endif  // RECURVE_ENGINE_TOKENIZER_PIPELINE_CONFIG_H_
