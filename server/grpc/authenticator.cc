// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/authenticator.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/grpcpp.h>

#include <string_view>
#include <variant>

#include "absl/strings/str_cat.h"
#include "engine/api/request.h"
#include "engine/base/quotable.h"
#include "engine/base/status_macros.h"
#include "server/access/names.h"
#include "server/access/tokens.h"
#include "server/grpc/call_metadata.h"

namespace recurve {
namespace {

constexpr char kAuthorizationKey[] = "authorization";

}  // namespace

absl::StatusOr<Caller> Authenticator::Judge(const grpc::CallbackServerContext& context) const {
  RETURN_IF_ERROR(CheckTenant(context));
  Caller caller{MetadataValue(context, kTenantKey)};
  std::string shown;
  if (const auto rules = credentials_->rules(); !rules->tokens.empty()) {
    const std::optional<std::string> sent = MetadataValue(context, kAuthorizationKey);
    const auto judged =
        JudgeToken(*rules, sent ? std::optional<std::string_view>(*sent) : std::nullopt);
    if (const auto* why = std::get_if<Unauthenticated>(&judged)) {
      metrics_->CountUnauthenticated(*why);
      return absl::UnauthenticatedError(kBadTokenMessage);
    }
    shown = std::get<std::string>(judged);
  } else if (credentials_->asks_for_client_certificates()) {
    ASSIGN_OR_RETURN(shown, TenantOfCertificate(context));
  } else {
    return caller;
  }
  if (caller.tenant && *caller.tenant != shown) {
    metrics_->CountUnauthenticated(Unauthenticated::kTenant);
    return absl::PermissionDeniedError(
        absl::StrCat(kTenantKey, " is '", *caller.tenant, "', and the call is of tenant '", shown,
                     "' by its credentials; leave ", kTenantKey, " out"));
  }
  caller.tenant = shown;
  return caller;
}

absl::StatusOr<std::string> Authenticator::TenantOfCertificate(
    const grpc::CallbackServerContext& context) const {
  const auto peer = context.auth_context();
  std::string name;
  for (const char* property :
       {GRPC_PEER_URI_PROPERTY_NAME, GRPC_PEER_DNS_PROPERTY_NAME, GRPC_X509_CN_PROPERTY_NAME}) {
    const auto values = peer->FindPropertyValues(property);
    if (values.empty()) continue;
    name.assign(values.front().data(), values.front().size());
    break;
  }
  if (IsValidName(name, kMaxTenantBytes)) return name;
  metrics_->CountUnauthenticated(Unauthenticated::kNameless);
  return absl::UnauthenticatedError(absl::StrCat(
      "the client certificate's name, its first URI, else DNS name, else common name, is '",
      Quotable(name), "', of ", name.size(), " bytes; a tenant has from 1 to ", kMaxTenantBytes,
      " printable ASCII characters"));
}

}  // namespace recurve
