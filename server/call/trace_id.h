// SPDX-License-Identifier: Apache-2.0
// The client's trace, as W3C's Trace Context names it.
#ifndef RECURVE_SERVER_CALL_TRACE_ID_H_
#define RECURVE_SERVER_CALL_TRACE_ID_H_

#include <string>
#include <string_view>

namespace recurve {

// The trace id, 32 hexadecimal digits, of a `traceparent`; empty if that is not a valid one.
std::string TraceIdOf(std::string_view traceparent);

}  // namespace recurve

#endif  // RECURVE_SERVER_CALL_TRACE_ID_H_
