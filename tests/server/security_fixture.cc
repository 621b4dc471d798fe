// SPDX-License-Identifier: Apache-2.0
#include "tests/server/security_fixture.h"

#include <grpcpp/generic/generic_stub.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/access/tokens.h"

namespace recurve {

std::string TokenEntry(const std::string& id, const std::string& secret,
                       const std::string& tenant) {
  const Sha256 hash = Sha256Of(secret);
  return absl::StrCat(R"({"id": ")", id, R"(", "tenant": ")", tenant, R"(", "sha256": ")",
                      absl::BytesToHexString(absl::string_view(
                          reinterpret_cast<const char*>(hash.data()), hash.size())),
                      R"("})");
}

grpc::Status CallMethod(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                        const std::string& authorization) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  if (!authorization.empty()) context.AddMetadata("authorization", authorization);
  grpc::CompletionQueue queue;
  const auto stream = stub.PrepareCall(&context, method, &queue);
  const auto wait = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  stream->StartCall(nullptr);
  wait();
  const grpc::Slice nothing;
  stream->WriteLast(grpc::ByteBuffer(&nothing, 1), {}, nullptr);
  wait();
  grpc::ByteBuffer answer;
  stream->Read(&answer, nullptr);
  if (wait()) return grpc::Status::OK;  // the destructors cancel what goes on
  grpc::Status status;
  stream->Finish(&status, nullptr);
  wait();
  return status;
}

}  // namespace recurve
