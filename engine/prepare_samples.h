// SPDX-License-Identifier: Apache-2.0
// From a request as the front end gives it to those that the schedule runs: the prompt's token ids,
// and checks of what model and tokenizer allow.
#ifndef RECURVE_ENGINE_PREPARE_SAMPLES_H_
#define RECURVE_ENGINE_PREPARE_SAMPLES_H_

#include "absl/status/statusor.h"
#include "engine/api/options.h"
#include "engine/api/request.h"
#include "engine/model/config.h"
#include "engine/schedule/sample.h"
#include "engine/text_encoder.h"

namespace recurve {

// Without a tokenizer the prompt must be token ids, and there can be no stop strings. The id and
// the observer stay unset. INVALID_ARGUMENT names the field, the value and the limit; a text is
// encoded last, and no further than the context. `request` has passed ValidateRequest; vocabulary,
// recursions, context and memory are the schedule's to check.
absl::StatusOr<ScheduledSample> PrepareSample(const Request& request, const ModelConfig& config,
                                              const EvictionOptions& eviction,
                                              const TextEncoder& encoder);

// One for each sample of `request`, sample 0 first. The others leave the prompt's log probabilities
// to it, so that they can share its pages. As PrepareSample otherwise.
absl::StatusOr<std::vector<ScheduledSample>> PrepareSamples(const Request& request,
                                                            const ModelConfig& config,
                                                            const EvictionOptions& eviction,
                                                            const TextEncoder& encoder);

}  // namespace recurve

#endif  // RECURVE_ENGINE_PREPARE_SAMPLES_H_
