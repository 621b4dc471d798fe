// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/reflection_service.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/grpcpp.h>

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/quotable.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/grpc/grpc_status.h"

namespace recurve {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;

struct V1 {
  using Service = ::grpc::reflection::v1::ServerReflection::CallbackService;
  using Request = ::grpc::reflection::v1::ServerReflectionRequest;
  using Response = ::grpc::reflection::v1::ServerReflectionResponse;
};

struct V1Alpha {
  using Service = ::grpc::reflection::v1alpha::ServerReflection::CallbackService;
  using Request = ::grpc::reflection::v1alpha::ServerReflectionRequest;
  using Response = ::grpc::reflection::v1alpha::ServerReflectionResponse;
};

// The file and what it imports, each once.
template <typename Response>
void AddFiles(const FileDescriptor& file, std::set<const FileDescriptor*>* added,
              Response* response) {
  if (!added->insert(&file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  proto.SerializeToString(
      response->mutable_file_descriptor_response()->add_file_descriptor_proto());
  for (int i = 0; i < file.dependency_count(); ++i) AddFiles(*file.dependency(i), added, response);
}

template <typename Response>
void NotFound(const std::string& what, const std::string& name, Response* response) {
  auto* error = response->mutable_error_response();
  error->set_error_code(::grpc::StatusCode::NOT_FOUND);
  error->set_error_message(absl::StrCat("no ", what, " '", Quotable(name), "' is here"));
}

template <typename Response>
void AnswerFile(const FileDescriptor* file, const std::string& what, const std::string& name,
                Response* response) {
  std::set<const FileDescriptor*> added;
  if (file == nullptr) return NotFound(what, name, response);
  AddFiles(*file, &added, response);
}

template <typename Response>
void AnswerExtensions(const std::string& type, Response* response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const auto* message = pool.FindMessageTypeByName(type);
  if (message == nullptr) return NotFound("message", type, response);
  std::vector<const FieldDescriptor*> extensions;
  pool.FindAllExtensions(message, &extensions);
  auto* answer = response->mutable_all_extension_numbers_response();
  answer->set_base_type_name(type);
  for (const FieldDescriptor* field : extensions) answer->add_extension_number(field->number());
}

template <typename Request, typename Response>
void AnswerRequest(const Request& request, const std::vector<std::string>& services,
                   Response* response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  response->Clear();
  response->set_valid_host(request.host());
  *response->mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kFileByFilename:
      return AnswerFile(pool.FindFileByName(request.file_by_filename()), "file",
                        request.file_by_filename(), response);
    case Request::kFileContainingSymbol:
      return AnswerFile(pool.FindFileContainingSymbol(request.file_containing_symbol()), "symbol",
                        request.file_containing_symbol(), response);
    case Request::kFileContainingExtension: {
      const std::string& type = request.file_containing_extension().containing_type();
      const auto* message = pool.FindMessageTypeByName(type);
      const auto* field =
          message == nullptr ? nullptr
                             : pool.FindExtensionByNumber(
                                   message, request.file_containing_extension().extension_number());
      return AnswerFile(field == nullptr ? nullptr : field->file(), "extension of", type, response);
    }
    case Request::kAllExtensionNumbersOfType:
      return AnswerExtensions(request.all_extension_numbers_of_type(), response);
    case Request::kListServices:
      for (const std::string& name : services) {
        response->mutable_list_services_response()->add_service()->set_name(name);
      }
      return;
    default:
      response->mutable_error_response()->set_error_code(::grpc::StatusCode::INVALID_ARGUMENT);
      response->mutable_error_response()->set_error_message("the request asks for nothing");
  }
}

// Reads a request, writes its answer, and so on. Deletes itself.
template <typename Api>
class Conversation final
    : public ::grpc::ServerBidiReactor<typename Api::Request, typename Api::Response> {
 public:
  Conversation(const absl::Status& allowed, const std::vector<std::string>* services)
      : services_(services) {
    if (allowed.ok()) {
      this->StartRead(&request_);
    } else {
      this->Finish(ToGrpc(allowed));
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok) return this->Finish(::grpc::Status::OK);
    AnswerRequest(request_, *services_, &response_);
    this->StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return this->Finish(::grpc::Status::CANCELLED);
    this->StartRead(&request_);
  }
  void OnDone() override { delete this; }

 private:
  const std::vector<std::string>* const services_;
  Api::Request request_;
  Api::Response response_;
};

template <typename Api>
class ReflectionService final : public Api::Service {
 public:
  ReflectionService(std::vector<std::string> services, const Authenticator* authenticator)
      : services_(std::move(services)), authenticator_(authenticator) {}

  ::grpc::ServerBidiReactor<typename Api::Request, typename Api::Response>* ServerReflectionInfo(
      ::grpc::CallbackServerContext* context) override {
    return new Conversation<Api>(authenticator_->Judge(*context).status(), &services_);
  }

 private:
  const std::vector<std::string> services_;
  const Authenticator* const authenticator_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeReflectionService(std::vector<std::string> services,
                                                     const Authenticator* authenticator) {
  return std::make_unique<ReflectionService<V1>>(std::move(services), authenticator);
}

std::unique_ptr<grpc::Service> MakeReflectionAlphaService(std::vector<std::string> services,
                                                          const Authenticator* authenticator) {
  return std::make_unique<ReflectionService<V1Alpha>>(std::move(services), authenticator);
}

}  // namespace recurve
