// SPDX-License-Identifier: Apache-2.0
// A ModelInferRequest of the Open Inference Protocol: sampling_parameters, `---`, and the raw
// contents of text_input; or the message itself as bytes from the network.
#include <google/protobuf/stubs/logging.h>

#include <chrono>
#include <string>
#include <string_view>

#include "engine/api/validate_request.h"
#include "server/grpc/infer_request.h"
#include "tests/fuzz/fuzz.h"

namespace recurve {
namespace {

constexpr char kModel[] = "tiny";

void CheckTerms(const inference::ModelInferRequest& proto) {
  const auto terms = TermsFromInfer(proto, kModel, SteadyTime(std::chrono::hours(1)));
  if (!terms.ok()) return CheckRefusal(terms.status());
  const absl::Status valid = WithInferNames(ValidateRequest(terms->request));
  if (!valid.ok()) return CheckRefusal(valid);
  RECURVE_CHECK(terms->request.samples >= 1 && terms->request.samples <= kMaxSamples);
  RECURVE_CHECK(!terms->stream || terms->prepended.empty());
}

void AddBytes(const char* name, std::string_view raw, inference::ModelInferRequest* proto) {
  auto* input = proto->add_inputs();
  input->set_name(name);
  input->set_datatype("BYTES");
  input->add_shape(1);
  proto->add_raw_input_contents(std::string(raw));
}

std::string WithLength(std::string_view text) {
  std::string raw;
  for (int shift = 0; shift < 32; shift += 8) {
    raw.push_back(static_cast<char>(text.size() >> shift & 0xFF));
  }
  return raw.append(text);
}

}  // namespace
}  // namespace recurve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Each message that is not UTF-8 would cost a line of log.
  [[maybe_unused]] static const auto kPreviousHandler = google::protobuf::SetLogHandler(nullptr);
  inference::ModelInferRequest proto;
  if (proto.ParseFromArray(data, static_cast<int>(size))) {
    proto.set_model_name(recurve::kModel);
    proto.clear_model_version();
    recurve::CheckTerms(proto);
  }
  const auto [parameters, text] = recurve::SplitParts(recurve::AsText(data, size));
  inference::ModelInferRequest made;
  made.set_model_name(recurve::kModel);
  recurve::AddBytes("text_input", text, &made);
  recurve::AddBytes("sampling_parameters", recurve::WithLength(parameters), &made);
  recurve::CheckTerms(made);
  return 0;
}
