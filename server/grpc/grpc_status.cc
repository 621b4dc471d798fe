// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/grpc_status.h"

#include <grpcpp/support/status.h>

#include <string>

#include "absl/strings/string_view.h"

namespace recurve {

grpc::Status ToGrpc(const absl::Status& status) {
  constexpr size_t kMaxMessageBytes = 1024;
  if (status.ok()) return grpc::Status::OK;
  absl::string_view message = status.message();
  if (message.size() > kMaxMessageBytes) {
    // Not amid a character: clients take the message for UTF-8.
    size_t end = kMaxMessageBytes;
    while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;
    message = message.substr(0, end);
  }
  // The codes of both are the canonical ones, with the same numbers.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(message));
}

}  // namespace recurve
