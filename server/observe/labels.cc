// SPDX-License-Identifier: Apache-2.0
#include "server/observe/labels.h"

namespace recurve {
namespace {

constexpr std::string_view kRejectionNames[kNumRejections] = {
    "invalid",   "queue_full",      "loading",        "draining",     "engine_failed",
    "abandoned", "unauthenticated", "quota_requests", "quota_tokens", "quota_queue"};

constexpr std::string_view kUnauthenticatedNames[kNumUnauthenticated] = {
    "missing", "malformed", "unknown", "wrong", "nameless_certificate", "other_tenant"};

}  // namespace

std::string_view RejectionName(Rejection why) { return kRejectionNames[static_cast<int>(why)]; }

std::string_view UnauthenticatedName(Unauthenticated why) {
  return kUnauthenticatedNames[static_cast<int>(why)];
}

}  // namespace recurve
