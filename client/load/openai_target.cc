// SPDX-License-Identifier: Apache-2.0
#include "client/load/openai_target.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/strip.h"
#include "absl/synchronization/notification.h"
#include "client/load/openai_messages.h"
#include "client/load/sampling_json.h"
#include "client/load/sse.h"

namespace recurve::client {
namespace {

constexpr std::chrono::seconds kDescribeTimeout(10);
constexpr size_t kMostErrorBytes = 4096;  // of a body; more is left out

// An answer as a whole, which its caller waits for.
class WholeAnswer final : public HttpReceiver {
 public:
  void OnHeader(int code, std::string /*retry_after*/) override { code_ = code; }
  bool OnBody(std::string_view bytes) override {
    body_.append(bytes);
    return true;
  }
  void OnEnd(const absl::Status& status) override {
    status_ = status;
    ended_.Notify();
  }

  absl::StatusOr<std::string> Wait() {
    ended_.WaitForNotification();
    if (!status_.ok()) return status_;
    if (code_ != 200) return StatusOfAnswer(code_, "", body_);
    return body_;
  }

 private:
  int code_ = 0;
  std::string body_;
  absl::Status status_;
  absl::Notification ended_;
};

// Of a request. Lives until it is destroyed, which waits for its end.
class CompletionStream final : public HttpReceiver, public MessageReader, public Stream {
 public:
  CompletionStream(HttpClient& http, HttpRequest request, Target::OnMessage on_message,
                   Target::OnEnd on_end)
      : call_(http.Call(std::move(request), this)),
        on_message_(std::move(on_message)),
        on_end_(std::move(on_end)) {}
  ~CompletionStream() override {
    call_->Cancel();
    ended_.WaitForNotification();
  }

  void Start() { call_->Start(); }
  void Cancel() override { call_->Cancel(); }

  void OnHeader(int code, std::string retry_after) override {
    code_ = code;
    retry_after_ = std::move(retry_after);
  }

  bool OnBody(std::string_view bytes) override {
    if (code_ != 200) {
      error_body_.append(bytes.substr(0, kMostErrorBytes - error_body_.size()));
      return true;
    }
    if (!error_.ok()) return true;
    if (const absl::Status status = parser_.Feed(bytes, events_); !status.ok()) Fail(status);
    return Deliver();
  }

  void Done() override { call_->Resume(); }

  void OnEnd(const absl::Status& status) override {
    on_end_(StatusOf(status));
    ended_.Notify();  // the destructor may run at once
  }

 private:
  // True if more is to be read.
  bool Deliver() {
    while (error_.ok() && !events_.empty()) {
      if (!Take()) return false;
    }
    return true;
  }

  // Delivers the next message; false if the reader is not done with it.
  bool Take() {
    const std::string event = std::move(events_.front());
    events_.pop_front();
    const absl::StatusOr<CompletionChunk> chunk = ParseChunk(event);
    if (!chunk.ok()) {
      Fail(chunk.status());
      return true;
    }
    is_whole_ = is_whole_ || chunk->is_last;
    if (chunk->is_last) return true;
    return on_message_(HeardOf(*chunk), *this);
  }

  Heard HeardOf(const CompletionChunk& chunk) {
    Heard heard;
    heard.prompt_tokens = chunk.prompt_tokens;
    heard.cached_tokens = chunk.cached_tokens;
    heard.generated_tokens = chunk.generated_tokens;
    if (chunk.has_choice && chunk.generated_tokens) {
      heard.tokens = static_cast<uint32_t>(*chunk.generated_tokens -
                                           std::min(told_tokens_, *chunk.generated_tokens));
      told_tokens_ = *chunk.generated_tokens;
    } else if (chunk.has_text) {
      heard.tokens = std::nullopt;
    }
    return heard;
  }

  void Fail(const absl::Status& status) {
    error_ = status;
    call_->Cancel();
  }

  absl::Status StatusOf(const absl::Status& status) const {
    if (!error_.ok()) return error_;
    if (!status.ok()) return status;
    if (code_ != 200) return StatusOfAnswer(code_, retry_after_, error_body_);
    if (!is_whole_) return absl::UnavailableError("the stream ended without [DONE]");
    return absl::OkStatus();
  }

  const std::shared_ptr<HttpCall> call_;
  const Target::OnMessage on_message_;
  const Target::OnEnd on_end_;
  int code_ = 0;
  std::string retry_after_, error_body_;
  SseParser parser_;
  std::deque<std::string> events_;
  uint64_t told_tokens_ = 0;
  bool is_whole_ = false;
  absl::Status error_;  // for which the call was cancelled
  absl::Notification ended_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<OpenAiTarget>> OpenAiTarget::Create(
    const ConnectionFlags& connection, OpenAiOptions options) {
  std::unique_ptr<OpenAiTarget> target(new OpenAiTarget(connection, std::move(options)));
  const auto tls = TlsClient::Create(connection.client.credentials);
  if (!tls.ok()) return tls.status();
  for (const std::string& name : connection.options().servers) {
    absl::StatusOr<HttpUrl> url = ParseHttpUrl(name);
    if (!url.ok()) return url.status();
    // As others are told their base_url, and as it is told here.
    url->path = std::string(absl::StripSuffix(url->path, "/v1"));
    target->servers_.Add(name, std::make_unique<HttpClient>(*url, url->is_https ? *tls : nullptr));
  }
  return target;
}

HttpRequest OpenAiTarget::Prepare(const CallOptions& call) const {
  HttpRequest request;
  request.timeout = call.timeout;
  if (!token_.empty()) request.headers.emplace_back("Authorization", "Bearer " + token_);
  if (!call.request_id.empty()) request.headers.emplace_back("X-Request-Id", call.request_id);
  return request;
}

absl::StatusOr<TargetInfo> OpenAiTarget::Describe() {
  if (options_.model.empty()) {
    HttpRequest request = Prepare(call_);
    request.path = "/v1/models";
    if (!request.timeout) request.timeout = kDescribeTimeout;
    WholeAnswer answer;
    servers_.first().Call(std::move(request), &answer)->Start();
    const absl::StatusOr<std::string> body = answer.Wait();
    if (!body.ok()) return body.status();
    absl::StatusOr<std::string> model = FirstModel(*body);
    if (!model.ok()) return model.status();
    options_.model = *std::move(model);
  }
  return TargetInfo{.model_name = options_.model, .vocab_size = options_.vocab_size};
}

absl::Status OpenAiTarget::Check(const v1::GenerateRequest& request) const {
  return CheckForSamplingJson(request);
}

std::unique_ptr<Stream> OpenAiTarget::Start(const v1::GenerateRequest& request,
                                            const CallOptions& call, OnMessage on_message,
                                            OnEnd on_end) {
  HttpRequest post = Prepare(call);
  post.is_post = true;
  post.path = "/v1/completions";
  post.body = CompletionBody(request, options_.model, options_.extra);
  auto stream = std::make_unique<CompletionStream>(servers_.Take(call), std::move(post),
                                                   std::move(on_message), std::move(on_end));
  stream->Start();
  return stream;
}

}  // namespace recurve::client
