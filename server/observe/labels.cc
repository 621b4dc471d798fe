// SPDX-License-Identifier: Apache-2.0
#include "server/observe/labels.h"

namespace recurve {
namespace {

constexpr std::string_view kRejectionNames[kNumRejections] = {
    "invalid", "queue_full", "loading", "draining", "engine_failed", "abandoned"};

}  // namespace

std::string_view RejectionName(Rejection why) { return kRejectionNames[static_cast<int>(why)]; }

}  // namespace recurve
