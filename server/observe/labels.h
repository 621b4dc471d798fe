// SPDX-License-Identifier: Apache-2.0
// What metrics and log tell apart: the values of their labels. docs/metrics.md lists them.
#ifndef RECURVE_SERVER_OBSERVE_LABELS_H_
#define RECURVE_SERVER_OBSERVE_LABELS_H_

#include <string_view>

namespace recurve {

// Why a request never entered the engine.
enum class Rejection {
  kInvalid,
  kQueueFull,
  kLoading,
  kDraining,
  kFailed,
  kAbandoned,
  kUnauthenticated,  // Unauthenticated has why
  kQuotaRequests,    // of its tenant
  kQuotaTokens,
  kQuotaQueue,
};
inline constexpr int kNumRejections = 10;
std::string_view RejectionName(Rejection why);

// Why a call was not believed to be of anybody who may call.
enum class Unauthenticated {
  kMissing,    // no token
  kMalformed,  // no `Bearer ID.SECRET`
  kUnknown,    // no such id
  kWrong,      // another secret
  kNameless,   // a client certificate without a name that can be a tenant's
  kTenant,     // metadata that names another tenant
};
inline constexpr int kNumUnauthenticated = 6;
std::string_view UnauthenticatedName(Unauthenticated why);

// What made us give up on a client.
enum class StallCause { kTimeout, kBuffer };
inline constexpr int kNumStallCauses = 2;

// Which calls bring a text that waits to be tokenized.
enum class TextKind {
  kPrompt,  // of Generate and Complete
  kTool,    // of Tokenize and Detokenize
};
inline constexpr int kNumTextKinds = 2;

// How an admitted request can end beside the engine's EndReasonName.
inline constexpr std::string_view kReasonSlowReader = "slow_reader";
inline constexpr std::string_view kReasonUnavailable = "unavailable";
inline constexpr std::string_view kReasonInternal = "internal";

}  // namespace recurve

#endif  // RECURVE_SERVER_OBSERVE_LABELS_H_
