// SPDX-License-Identifier: Apache-2.0
// Conversations as prompts, by a model's chat template.
#ifndef RECURVE_CLIENT_GATEWAY_CHAT_RENDERER_H_
#define RECURVE_CLIENT_GATEWAY_CHAT_RENDERER_H_

#include <chrono>
#include <cstddef>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "recurve/v1/generation.pb.h"

namespace recurve::gateway {

inline constexpr size_t kMaxPromptCharacters = 4 << 20;

// Templates are programs of whoever made the model. They run in a process of their own, a Python
// interpreter with chat_template.py, in a sandbox, with little memory, one at a time, and each for
// `timeout` at most: then the process is killed, and the next conversation gets a new one.
// Thread-safe; calls block.
class ChatRenderer {
 public:
  // `python`: the interpreter's path, or its name in PATH.
  ChatRenderer(std::string python, std::chrono::milliseconds timeout);
  ~ChatRenderer();

  // The default template's text for these messages. InvalidArgument if the model has none or it
  // cannot take the messages; Internal for a template that is none, or takes too long, and for an
  // interpreter that does not work.
  absl::StatusOr<std::string> Render(const v1::GetModelInfoResponse& model,
                                     const nlohmann::json& messages, bool add_generation_prompt);

  // That the interpreter is there and has what it needs.
  absl::Status Check();

 private:
  class Process;

  absl::StatusOr<std::string> Exchange(const std::string& line)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status StartProcess() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string python_;
  const std::chrono::milliseconds timeout_;
  absl::Mutex mutex_;
  std::unique_ptr<Process> process_ ABSL_GUARDED_BY(mutex_);  // null until needed, and after a kill
};

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_CHAT_RENDERER_H_
