// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/gateway.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/gateway/answer_stream.h"
#include "client/gateway/api_error.h"
#include "client/gateway/engine_view.h"
#include "client/gateway/page.h"
#include "engine/base/quotable.h"
#include "engine/base/status_macros.h"

namespace recurve::gateway {
namespace {

using nlohmann::json;

constexpr char kModelPath[] = "/v1/models/";
constexpr char kEnginePath[] = "/engine";
// With a server's answer to a short call.
constexpr std::chrono::seconds kPatience(30);
// With each server's answer to how busy it is.
constexpr std::chrono::seconds kLookPatience(2);

// Answers with the error, if there is one; whether there was none.
template <typename T>
bool Check(const absl::StatusOr<T>& value, Call& call) {
  if (!value.ok()) call.SendError(WithParamNames(value.status()));
  return value.ok();
}

int64_t Now() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

json Describe(const ModelInfo& model) {
  return {{"id", model.model_name()},
          {"object", "model"},
          {"created", 0},
          {"owned_by", "recurve"},
          {"max_model_len", model.max_context()}};
}

AnswerHead HeadOf(const char* prefix, const Call& call, const ModelInfo& model) {
  return {.id = absl::StrCat(prefix, call.id()),
          .created = Now(),
          .model = model.model_name(),
          .fingerprint = model.fingerprint()};
}

// All samples of a call wait in the server's queue at once, or could.
absl::Status CheckSize(const CompletionTerms& terms, const ModelInfo& model) {
  const uint64_t samples = std::max(1U, terms.request.samples());
  const uint64_t most = model.limits().max_queued_requests();
  if (terms.prompts.size() * samples <= most) return absl::OkStatus();
  return ParamError("prompt", absl::StrCat("prompt has ", terms.prompts.size(), " prompts with ",
                                           samples, " samples each; the server's queue holds ",
                                           most, " of both together"));
}

}  // namespace

const std::map<std::string, Gateway::Endpoint, std::less<>>& Gateway::Endpoints() {
  static const auto* const endpoints = new std::map<std::string, Endpoint, std::less<>>{
      {"/v1/completions", {"POST", Endpoint::kBlocks, &Gateway::Complete}},
      {"/v1/chat/completions", {"POST", Endpoint::kBlocks, &Gateway::Chat}},
      {"/v1/models", {"GET", Endpoint::kBlocks, &Gateway::ListModels}},
      {"/tokenize", {"POST", Endpoint::kBlocks, &Gateway::Tokenize}},
      {"/detokenize", {"POST", Endpoint::kBlocks, &Gateway::Detokenize}},
      {"/tokenizer_info", {"GET", Endpoint::kBlocks, &Gateway::TellTokenizer}},
      {"/health", {"GET", Endpoint::kAtOnce, &Gateway::Health}},
      {"/readyz", {"GET", Endpoint::kAtOnce, &Gateway::Health}},
      {"/healthz", {"GET", Endpoint::kAtOnce, &Gateway::Liveness}}};
  return *endpoints;
}

Gateway::Gateway(Parts parts) : parts_(std::move(parts)) {}

Gateway::~Gateway() {
  const absl::MutexLock lock(&mutex_);
  while (open_calls_ > 0) changed_.Wait(&mutex_);
}

void Gateway::Handle(HttpRequest request, std::shared_ptr<HttpResponseWriter> writer) {
  const auto call = std::make_shared<Call>(std::move(request), std::move(writer),
                                           static_cast<Call::Observer*>(this));
  const std::string& path = call->request().path;
  const Endpoint* const endpoint = Find(path);
  if (endpoint == nullptr) {
    return call->SendError(absl::NotFoundError(absl::StrCat("there is no ", Quotable(path))));
  }
  call->end().path = absl::StartsWith(path, kModelPath) ? kModelPath : path;
  const std::string& method = call->request().method;
  // The HTTP server sends the answer of HEAD without its body.
  if ((method == "HEAD" ? "GET" : method) != endpoint->method) {
    HttpResponse response = ErrorResponse(absl::InvalidArgumentError(
        absl::StrCat(Quotable(method), " is not for ", path, "; use ", endpoint->method)));
    response.status = 405;
    response.headers.emplace_back("Allow", endpoint->method);
    return call->Send(std::move(response));
  }
  if (endpoint->way == Endpoint::kAtOnce) return (this->*endpoint->answer)(call);
  Workers* const workers = endpoint->way == Endpoint::kLooks ? parts_.lookers : parts_.workers;
  workers->Post([this, call, endpoint] {
    // Whoever asks how busy servers are is checked by them anyway.
    const absl::Status known =
        endpoint->way == Endpoint::kLooks ? absl::OkStatus() : CheckCaller(*call);
    if (!known.ok()) return call->SendError(known);
    (this->*endpoint->answer)(call);
  });
}

const Gateway::Endpoint* Gateway::Find(const std::string& path) const {
  static constexpr Endpoint kModel = {"GET", Endpoint::kBlocks, &Gateway::TellModel};
  static constexpr Endpoint kEngine = {"GET", Endpoint::kLooks, &Gateway::TellEngine};
  static constexpr Endpoint kPage = {"GET", Endpoint::kAtOnce, &Gateway::ShowPage};
  if (absl::StartsWith(path, kModelPath)) return &kModel;
  if (parts_.page && path == kEnginePath) return &kEngine;
  if (parts_.page && FindPageFile(path) != nullptr) return &kPage;
  const auto found = Endpoints().find(path);
  return found == Endpoints().end() ? nullptr : &found->second;
}

// ---- Generating ----

void Gateway::Complete(const CallPointer& call) {
  const auto terms = ParseCompletion(call->request().body);
  if (!Check(terms, *call)) return;
  call->end().user = terms->user;
  const auto model = FindModel(terms->model);
  if (!Check(model, *call)) return;
  if (absl::Status size = CheckSize(*terms, **model); !size.ok()) return call->SendError(size);
  std::vector<v1::GenerateRequest> requests;
  auto echoes = Prepare(*terms, *call, &requests);
  if (!Check(echoes, *call)) return;
  Generate(call, *terms, requests,
           MakeCompletionAnswer(HeadOf("cmpl-", *call, **model), *terms, *std::move(echoes)));
}

void Gateway::Chat(const CallPointer& call) {
  const auto terms = ParseChat(call->request().body);
  if (!Check(terms, *call)) return;
  call->end().user = terms->user;
  const auto model = FindModel(terms->model);
  if (!Check(model, *call)) return;
  auto text = parts_.renderer->Render(**model, terms->messages, terms->add_generation_prompt);
  if (!Check(text, *call)) return;
  v1::GenerateRequest request = terms->request;
  request.set_text(*std::move(text));
  Generate(call, *terms, {request}, MakeChatAnswer(HeadOf("chatcmpl-", *call, **model), *terms));
}

absl::StatusOr<std::vector<PromptEcho>> Gateway::Prepare(
    const CompletionTerms& terms, const Call& call, std::vector<v1::GenerateRequest>* requests) {
  std::vector<PromptEcho> echoes;
  for (const Prompt& prompt : terms.prompts) {
    v1::GenerateRequest& request = requests->emplace_back(terms.request);
    if (terms.echo) {
      ASSIGN_OR_RETURN(echoes.emplace_back(), Echo(prompt, call, &request));
      // Without new tokens the server has nothing to do but these.
      const bool no_tokens = terms.request.stop().max_tokens() == 0;
      if (terms.logprobs || no_tokens) request.mutable_output()->set_prompt_logprobs(true);
    } else if (const auto* ids = std::get_if<TokenIds>(&prompt)) {
      request.mutable_tokens()->mutable_ids()->Assign(ids->begin(), ids->end());
    } else {
      request.set_text(std::get<std::string>(prompt));
    }
  }
  return echoes;
}

// The request gets the ids of a text, so that what comes again is what was computed.
absl::StatusOr<PromptEcho> Gateway::Echo(const Prompt& prompt, const Call& call,
                                         v1::GenerateRequest* request) {
  PromptEcho echo;
  auto* const ids = request->mutable_tokens()->mutable_ids();
  if (const auto* text = std::get_if<std::string>(&prompt)) {
    v1::TokenizeRequest tokenize;
    tokenize.set_text(*text);
    tokenize.set_with_text(true);
    if (request->has_add_special_tokens()) {
      tokenize.set_add_special_tokens(request->add_special_tokens());
    }
    ASSIGN_OR_RETURN(const auto tokens, parts_.client->Tokenize(tokenize, Patient(call)));
    *ids = tokens.ids();
    echo = {.text = *text, .tokens = {tokens.texts().begin(), tokens.texts().end()}};
  } else {
    const auto& given = std::get<TokenIds>(prompt);
    ids->Assign(given.begin(), given.end());
    v1::DetokenizeRequest detokenize;
    *detokenize.mutable_ids() = *ids;
    detokenize.set_skip_special_tokens(false);
    detokenize.set_with_text(true);
    ASSIGN_OR_RETURN(const auto decoded, parts_.client->Detokenize(detokenize, Patient(call)));
    echo = {.text = decoded.text(), .tokens = {decoded.texts().begin(), decoded.texts().end()}};
  }
  request->clear_add_special_tokens();
  return echo;
}

void Gateway::Generate(const CallPointer& call, const Terms& terms,
                       const std::vector<v1::GenerateRequest>& requests,
                       std::unique_ptr<Answer> answer) {
  const auto stream = std::make_shared<AnswerStream>(call, terms, std::move(answer));
  client::CallOptions options = call->options();
  options.resume = parts_.resume;
  const auto generation = Generation::Start(
      parts_.client, parts_.workers, requests, options,
      [stream](size_t prompt, const v1::GenerateResponse& message, client::MessageReader& reader) {
        return stream->OnMessage(prompt, message, reader);
      },
      [stream](const absl::Status& status) { stream->OnEnd(status); });
  Remember(generation);
  call->writer().WhenGone([weak = std::weak_ptr<Generation>(generation)] {
    if (const auto running = weak.lock()) running->Cancel();
  });
}

// ---- The rest ----

void Gateway::ListModels(const CallPointer& call) {
  const auto model = parts_.models->model();
  if (!Check(model, *call)) return;
  call->SendJson(json{{"object", "list"}, {"data", json::array({Describe(**model)})}}.dump());
}

void Gateway::TellModel(const CallPointer& call) {
  const auto model = FindModel(call->request().path.substr(std::string(kModelPath).size()));
  if (Check(model, *call)) call->SendJson(Describe(**model).dump());
}

void Gateway::Tokenize(const CallPointer& call) {
  const auto terms = ParseTokenize(call->request().body);
  if (!Check(terms, *call)) return;
  const auto model = FindModel(terms->model);
  if (!Check(model, *call)) return;
  v1::TokenizeRequest request;
  if (terms->messages) {
    auto text = parts_.renderer->Render(**model, *terms->messages, terms->add_generation_prompt);
    if (!Check(text, *call)) return;
    request.set_text(*std::move(text));
  } else {
    request.set_text(*terms->prompt);
  }
  request.set_add_special_tokens(terms->add_special_tokens.value_or(!terms->messages));
  request.set_with_text(terms->return_token_strs);
  const auto tokens = parts_.client->Tokenize(request, Patient(*call));
  if (!Check(tokens, *call)) return;
  json answer = {{"count", tokens->ids_size()},
                 {"max_model_len", (*model)->max_context()},
                 {"tokens", TokenIds(tokens->ids().begin(), tokens->ids().end())},
                 {"token_strs", nullptr}};
  if (terms->return_token_strs) {
    answer["token_strs"] = std::vector<std::string>(tokens->texts().begin(), tokens->texts().end());
  }
  call->SendJson(answer.dump(-1, ' ', false, json::error_handler_t::replace));
}

void Gateway::Detokenize(const CallPointer& call) {
  const auto terms = ParseDetokenize(call->request().body);
  if (!Check(terms, *call)) return;
  const auto model = FindModel(terms->model);
  if (!Check(model, *call)) return;
  v1::DetokenizeRequest request;
  request.mutable_ids()->Assign(terms->tokens.begin(), terms->tokens.end());
  request.set_skip_special_tokens(false);
  const auto text = parts_.client->Detokenize(request, Patient(*call));
  if (!Check(text, *call)) return;
  call->SendJson(
      json{{"prompt", text->text()}}.dump(-1, ' ', false, json::error_handler_t::replace));
}

void Gateway::TellTokenizer(const CallPointer& call) {
  const auto model = parts_.models->model();
  if (!Check(model, *call)) return;
  const ModelInfo& info = **model;
  json answer = {{"model_max_length", info.max_context()}};
  for (const auto& [name, text] : info.special_tokens()) answer[name] = text;
  for (const auto& chat : info.chat_templates()) {
    if (chat.name() == "default") answer["chat_template"] = chat.text();
  }
  // Harnesses begin texts with it, and a model may know it by its id alone.
  if (!answer.contains("eos_token") && info.has_tokenizer() && info.eos_token_ids_size() > 0) {
    v1::DetokenizeRequest request;
    request.add_ids(info.eos_token_ids(0));
    request.set_skip_special_tokens(false);
    const auto eos = parts_.client->Detokenize(request, Patient(*call));
    if (!Check(eos, *call)) return;
    answer["eos_token"] = eos->text();
  }
  call->SendJson(answer.dump());
}

void Gateway::Health(const CallPointer& call) {
  const bool is_ready = ready();
  call->Send({.status = is_ready ? 200 : 503,
              .content_type = "text/plain; charset=utf-8",
              .body = is_ready ? "SERVING\n" : "NOT_SERVING\n"});
}

void Gateway::Liveness(const CallPointer& call) {
  call->Send({.content_type = "text/plain; charset=utf-8", .body = "SERVING\n"});
}

absl::Status Gateway::CheckCaller(const Call& call) const {
  if (!parts_.ask_first) return absl::OkStatus();
  return parts_.client->GetLoad(Patient(call)).status();
}

absl::StatusOr<std::shared_ptr<const ModelInfo>> Gateway::FindModel(const std::string& name) const {
  ASSIGN_OR_RETURN(std::shared_ptr<const ModelInfo> model, parts_.models->model());
  if (name.empty() || name == model->model_name()) return model;
  return WithParam(absl::NotFoundError(absl::StrCat("the model ", Quotable(name), " is not here; ",
                                                    Quotable(model->model_name()), " is")),
                   "model", "model_not_found");
}

client::CallOptions Gateway::Patient(const Call& call) const {
  client::CallOptions options = call.options();
  options.timeout = kPatience;
  return options;
}

// ---- The page ----

void Gateway::TellEngine(const CallPointer& call) {
  call->end().is_look = true;
  const auto model = parts_.models->model();
  if (!Check(model, *call)) return;
  client::CallOptions options = call->options();
  options.timeout = kLookPatience;
  // Servers ask for the client's own token here as everywhere, so nobody learns more than they may.
  auto view = EngineView(**model, parts_.client->GetLoads(options));
  if (!Check(view, *call)) return;
  call->Send({.content_type = "application/json",
              .body = *std::move(view),
              .headers = {{"Cache-Control", "no-store"}}});
}

void Gateway::ShowPage(const CallPointer& call) {
  call->end().is_look = true;
  if (call->request().path != "/") call->end().path = "/page/";  // one name for all in the metrics
  call->Send(PageResponse(*FindPageFile(call->request().path), call->request()));
}

// ---- Ends ----

void Gateway::OnCall() {
  const absl::MutexLock lock(&mutex_);
  ++open_calls_;
}

void Gateway::OnEnd(const CallEnd& end) {
  parts_.on_end(end);
  const absl::MutexLock lock(&mutex_);
  if (--open_calls_ == 0) changed_.SignalAll();
}

size_t Gateway::open_calls() const {
  const absl::MutexLock lock(&mutex_);
  return open_calls_;
}

void Gateway::Remember(const std::shared_ptr<Generation>& generation) {
  const absl::MutexLock lock(&mutex_);
  if (cancelled_) generation->Cancel();
  if (generations_.size() > 2 * open_calls_) {
    std::erase_if(generations_, [](const auto& one) { return one.expired(); });
  }
  generations_.push_back(generation);
}

void Gateway::CancelAll() {
  std::vector<std::shared_ptr<Generation>> running;  // whose last owner may tell OnEnd
  {
    const absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    for (const auto& one : generations_) running.push_back(one.lock());
  }
  for (const auto& generation : running) {
    if (generation != nullptr) generation->Cancel();
  }
}

}  // namespace recurve::gateway
