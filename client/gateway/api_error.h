// SPDX-License-Identifier: Apache-2.0
// Errors as OpenAI's clients know them: an HTTP status and an object
//   {"error": {"message": ..., "type": ..., "param": ..., "code": ...}}
#ifndef RECURVE_CLIENT_GATEWAY_API_ERROR_H_
#define RECURVE_CLIENT_GATEWAY_API_ERROR_H_

#include <string>

#include "absl/status/status.h"
#include "server/net/http_server.h"

namespace recurve::gateway {

// INVALID_ARGUMENT of a parameter of the request. `code`: what a program can tell it by.
absl::Status ParamError(const std::string& param, const std::string& message,
                        const std::string& code = "invalid_value");

// The error, about this parameter.
absl::Status WithParam(absl::Status status, const std::string& param, const std::string& code);

// The same status, which a server gave for a request that was made of parameters, with the name of
// the parameter in place of the server's for the field: "n is 99; ..." for "samples is 99; ...".
absl::Status WithParamNames(const absl::Status& status);

// The error, whose message may repeat what was asked; the log, which must not, has this in its
// place.
absl::Status WithLogText(absl::Status status, const std::string& text);
std::string LogTextOf(const absl::Status& status);

int HttpStatusOf(const absl::Status& status);

// The object, as JSON. Of an error, not of OK.
std::string ErrorJson(const absl::Status& status);

// The whole answer; with Retry-After where the server said when to come again.
HttpResponse ErrorResponse(const absl::Status& status);

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_API_ERROR_H_
