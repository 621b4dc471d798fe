// SPDX-License-Identifier: Apache-2.0
#include "client/load/make_target.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/load/oip_target.h"
#include "client/load/openai_target.h"
#include "client/load/recurve_target.h"
#include "client/server_name.h"

namespace recurve::client {
namespace {

// What flags of others have no meaning for `protocol`.
absl::Status CheckFlags(const std::string& protocol, const TargetFlags& flags,
                        const ConnectionFlags& connection) {
  const auto refuse = [&protocol](const char* flag, const char* whose) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, " is of --protocol=", whose, ", and this is ", protocol));
  };
  const bool is_recurve = protocol == "recurve", is_openai = protocol == "openai";
  if (is_recurve && !flags.model.empty()) return refuse("--model", "oip or openai");
  if (is_recurve && !flags.extra_body.empty()) return refuse("--extra_body", "oip or openai");
  if (!is_openai && flags.vocab_size > 0) return refuse("--vocab_size", "openai");
  if (!is_recurve && connection.resume) return refuse("--resume", "recurve");
  if (!is_recurve && connection.balance != ConnectionFlags().balance) {
    return refuse("--balance", "recurve");
  }
  const auto expected = [&connection](const std::string& what) {
    return absl::InvalidArgumentError(
        absl::StrCat("--server is '", connection.server, "'; expected ", what));
  };
  const Transport transport = TransportOf(connection.server);
  if (is_openai != (transport != Transport::kGrpc)) {
    return expected(is_openai ? "http[s]://HOST:PORT, as --protocol=openai speaks"
                              : absl::StrCat("HOST:PORT for --protocol=", protocol));
  }
  if (transport == Transport::kHttp && !connection.client.credentials.tls_ca.empty()) {
    return expected("https://HOST:PORT, since there is --tls_ca");
  }
  return absl::OkStatus();
}

}  // namespace

std::string ProtocolOf(const TargetFlags& flags, const ConnectionFlags& connection) {
  if (!flags.protocol.empty()) return flags.protocol;
  return TransportOf(connection.server) == Transport::kGrpc ? "recurve" : "openai";
}

absl::StatusOr<std::unique_ptr<Target>> MakeTarget(const TargetFlags& flags,
                                                   const ConnectionFlags& connection) {
  const std::string protocol = ProtocolOf(flags, connection);
  if (absl::Status status = CheckFlags(protocol, flags, connection); !status.ok()) return status;
  if (protocol == "recurve") return std::make_unique<RecurveTarget>(connection);
  if (protocol == "openai") {
    return OpenAiTarget::Create(connection, {flags.model, flags.extra_body, flags.vocab_size});
  }
  if (flags.model.empty()) {
    return absl::InvalidArgumentError("--protocol=oip needs --model: it cannot ask which there is");
  }
  return std::make_unique<OipTarget>(connection, flags.model, flags.extra_body);
}

}  // namespace recurve::client
