// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/chat_renderer.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/gateway/api_error.h"
#include "client/gateway/chat_template_script.h"
#include "engine/base/quotable.h"
#include "engine/base/scoped_descriptor.h"
#include "engine/base/status_macros.h"

namespace recurve::gateway {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

// A character is at most two escapes of six bytes, and an error's message is short.
constexpr size_t kMaxLineBytes = 12 * kMaxPromptCharacters + 65536;
// To start an interpreter on a busy machine.
constexpr std::chrono::seconds kStartTimeout(30);

absl::Status SystemError(const std::string& what) {
  return absl::InternalError(absl::StrCat("chat templates: ", what, ": ", std::strerror(errno)));
}

struct Pipe {
  ScopedDescriptor read, write;
};

absl::StatusOr<Pipe> MakePipe() {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return SystemError("cannot make a pipe");
  return Pipe{ScopedDescriptor(ends[0]), ScopedDescriptor(ends[1])};
}

}  // namespace

// The child, killed and reaped with this.
class ChatRenderer::Process {
 public:
  static absl::StatusOr<std::unique_ptr<Process>> Start(const std::string& python);
  ~Process() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  // Sends a line (if it is not empty) and returns the one that answers, without its end.
  // DeadlineExceeded after `until`; Unavailable if the process has ended, or writes too much.
  absl::StatusOr<std::string> Exchange(const std::string& line, Clock::time_point until);

 private:
  Process(pid_t pid, ScopedDescriptor in, ScopedDescriptor out)
      : pid_(pid), in_(std::move(in)), out_(std::move(out)) {}
  absl::Status Send(const std::string& line, size_t* sent) const;
  absl::Status Receive(std::string* received) const;

  const pid_t pid_;
  const ScopedDescriptor in_, out_;  // its standard input and output, not blocking
};

absl::StatusOr<std::unique_ptr<ChatRenderer::Process>> ChatRenderer::Process::Start(
    const std::string& python) {
  ASSIGN_OR_RETURN(Pipe in, MakePipe());
  ASSIGN_OR_RETURN(Pipe out, MakePipe());
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, in.read.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, out.write.get(), STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A group of its own, which a terminal's Ctrl-C does not reach, and no signal blocked.
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  sigset_t signals;
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);
  sigaddset(&signals, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &signals);
  // Isolated: nothing of the environment or the working directory decides what it runs.
  std::vector<std::string> words = {python, "-I", "-c", kChatTemplateScript};
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int failed = posix_spawnp(&pid, python.c_str(), &files, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) {
    return absl::InternalError(absl::StrCat(
        "chat templates: cannot run --python=", Quotable(python), ": ", std::strerror(failed)));
  }
  for (const int fd : {in.write.get(), out.read.get()}) fcntl(fd, F_SETFL, O_NONBLOCK);
  return std::unique_ptr<Process>(new Process(pid, std::move(in.write), std::move(out.read)));
}

absl::Status ChatRenderer::Process::Send(const std::string& line, size_t* sent) const {
  const ssize_t n = write(in_.get(), line.data() + *sent, line.size() - *sent);
  if (n < 0 && errno != EAGAIN) return absl::UnavailableError("the interpreter has ended");
  if (n > 0) *sent += static_cast<size_t>(n);
  return absl::OkStatus();
}

absl::Status ChatRenderer::Process::Receive(std::string* received) const {
  std::array<char, 65536> buffer;
  const ssize_t n = read(out_.get(), buffer.data(), buffer.size());
  if (n == 0 || (n < 0 && errno != EAGAIN)) {
    return absl::UnavailableError("the interpreter has ended");
  }
  if (n > 0) received->append(buffer.data(), static_cast<size_t>(n));
  if (received->size() <= kMaxLineBytes) return absl::OkStatus();
  return absl::UnavailableError("the interpreter's answer is too long");
}

absl::StatusOr<std::string> ChatRenderer::Process::Exchange(const std::string& line,
                                                            Clock::time_point until) {
  std::string received;
  size_t sent = 0;
  while (received.empty() || received.back() != '\n') {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return absl::DeadlineExceededError("the interpreter takes too long");
    // A descriptor below 0 is left out.
    std::array<pollfd, 2> polls = {
        pollfd{.fd = out_.get(), .events = POLLIN, .revents = 0},
        pollfd{.fd = sent < line.size() ? in_.get() : -1, .events = POLLOUT, .revents = 0}};
    if (poll(polls.data(), polls.size(), static_cast<int>(left)) < 0 && errno != EINTR) {
      return SystemError("cannot wait");
    }
    if (polls[1].revents != 0) RETURN_IF_ERROR(Send(line, &sent));
    if (polls[0].revents != 0) RETURN_IF_ERROR(Receive(&received));
  }
  received.pop_back();
  return received;
}

ChatRenderer::ChatRenderer(std::string python, std::chrono::milliseconds timeout)
    : python_(std::move(python)), timeout_(timeout) {}
ChatRenderer::~ChatRenderer() = default;

absl::Status ChatRenderer::StartProcess() {
  ASSIGN_OR_RETURN(std::unique_ptr<Process> process, Process::Start(python_));
  const auto first = process->Exchange("", Clock::now() + kStartTimeout);
  const json ready = json::parse(first.value_or(""), nullptr, /*allow_exceptions=*/false);
  if (!ready.is_object() || !ready.contains("ready")) {
    const bool says = ready.is_object() && ready.contains("error");
    return absl::InternalError(
        absl::StrCat("--python=", python_, " cannot render chat templates: ",
                     says ? ready["error"].get<std::string>() : "it says nothing of use"));
  }
  process_ = std::move(process);
  return absl::OkStatus();
}

absl::Status ChatRenderer::Check() {
  const absl::MutexLock lock(&mutex_);
  return process_ == nullptr ? StartProcess() : absl::OkStatus();
}

absl::StatusOr<std::string> ChatRenderer::Exchange(const std::string& line) {
  if (process_ == nullptr) RETURN_IF_ERROR(StartProcess());
  auto answer = process_->Exchange(line, Clock::now() + timeout_);
  if (answer.ok()) return answer;
  process_.reset();
  if (absl::IsDeadlineExceeded(answer.status())) {
    return absl::InternalError(absl::StrCat("the model's chat template took longer than ",
                                            timeout_.count(), " ms (--template_timeout)"));
  }
  return absl::InternalError(
      absl::StrCat("the model's chat template: ", answer.status().message(),
                   ", as it does where a template takes too much time or memory"));
}

absl::StatusOr<std::string> ChatRenderer::Render(const v1::GetModelInfoResponse& model,
                                                 const json& messages, bool add_generation_prompt) {
  const auto& templates = model.chat_templates();
  const auto found = std::find_if(templates.begin(), templates.end(),
                                  [](const auto& one) { return one.name() == "default"; });
  if (found == templates.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the model ", Quotable(model.model_name()), " has no chat template",
                     templates.empty() ? "" : " of the name default",
                     "; it has been made for completions, which /v1/completions does"));
  }
  // What transformers defines too, when it has nothing to tell there.
  json variables = {
      {"tools", nullptr}, {"documents", nullptr}, {"add_generation_prompt", add_generation_prompt}};
  for (const auto& [name, text] : model.special_tokens()) variables[name] = text;
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(timeout_).count();
  const json request = {{"template", found->text()},
                        {"messages", messages},
                        {"variables", std::move(variables)},
                        {"max_characters", kMaxPromptCharacters},
                        {"seconds", seconds}};
  std::string line;
  {
    const absl::MutexLock lock(&mutex_);
    ASSIGN_OR_RETURN(line, Exchange(request.dump() + "\n"));
  }
  const json answer = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (answer.is_object() && answer.contains("text")) return answer["text"].get<std::string>();
  if (!answer.is_object() || !answer.contains("error")) {
    return absl::InternalError("the model's chat template: the answer is none");
  }
  const auto error = answer["error"].get<std::string>();
  const absl::Status status = answer.value("fault", "") == "messages"
                                  ? absl::InvalidArgumentError(error)
                                  : absl::InternalError(error);
  return WithLogText(status, answer.value("log", error));
}

}  // namespace recurve::gateway
