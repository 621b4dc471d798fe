// SPDX-License-Identifier: Apache-2.0
// `recurve generate`: one completion, or several samples of it, streamed.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/prompt_text.h"
#include "client/cli/report.h"
#include "client/cli/request_flags.h"
#include "client/cli/terminal.h"

namespace recurve::client {
namespace {

struct GenerateFlags {
  ConnectionFlags connection;
  SamplingFlags sampling;
  std::string prompt;
  bool has_prompt = false;  // it may be empty
  std::string prompt_file = "-";
  std::vector<uint32_t> ids;
  bool no_special = false;
  bool echo = false;
  bool json = false;
  std::string marks = "auto";
  std::optional<uint32_t> logprobs;
  uint32_t samples = 1;
};

absl::StatusOr<v1::GenerateRequest> MakeRequest(const GenerateFlags& flags) {
  v1::GenerateRequest request;
  if (!flags.ids.empty()) {
    request.mutable_tokens()->mutable_ids()->Add(flags.ids.begin(), flags.ids.end());
  } else {
    auto text =
        flags.has_prompt ? CheckedUtf8("the prompt", flags.prompt) : ReadText(flags.prompt_file);
    if (!text.ok()) return text.status();
    request.set_text(*std::move(text));
  }
  if (flags.no_special) request.set_add_special_tokens(false);
  flags.sampling.Fill(request);
  if (flags.samples != 1) request.set_samples(flags.samples);
  if (flags.logprobs) {
    request.mutable_output()->set_logprobs(true);
    request.mutable_output()->set_top_logprobs(*flags.logprobs);
  }
  return request;
}

// Writes the stream as it comes and keeps what the lines of figures need. Of several samples one is
// written at a time, each under a header; what comes of the others waits.
class Printer {
 public:
  Printer(const GenerateFlags& flags, DepthMarks marks)
      : flags_(flags), marks_(marks), samples_(flags.samples) {}

  void Print(const v1::GenerateResponse& message) {
    if (flags_.json) {
      std::printf("%s\n", ToJson(message).c_str());
    } else if (message.sample() < samples_.size()) {
      Sample& sample = samples_[message.sample()];
      sample.waiting += Text(message);
      if (message.has_final()) {
        sample.end = message.final();
        sample.usage = message.usage();
      }
      WriteWaiting();
    }
  }

  // Whether anything of a completion has come, and stands on an unfinished line.
  bool has_written() const { return has_header_; }

  void PrintFigures() const {
    for (const Sample& sample : samples_) {
      if (sample.end) PrintFigures(sample);
    }
  }

 private:
  struct Sample {
    std::string waiting;  // to be written
    std::optional<v1::FinalInfo> end;
    v1::Usage usage;
  };

  void WriteWaiting() {
    while (true) {
      if (samples_.size() > 1 && !has_header_) std::printf("==> sample %zu <==\n", current_);
      has_header_ = true;
      std::string& text = samples_[current_].waiting;
      std::fwrite(text.data(), 1, text.size(), stdout);
      text.clear();
      if (!samples_[current_].end || current_ + 1 == samples_.size()) return;
      std::fputc('\n', stdout);
      ++current_;
      has_header_ = false;
    }
  }

  // One line on stderr: how much, how fast, how deep, why it ended.
  void PrintFigures(const Sample& sample) const {
    const v1::FinalInfo& end = *sample.end;
    const v1::Usage& usage = sample.usage;
    const double total = static_cast<double>(end.timings().total_us()) * 1e-6;
    const double decode = static_cast<double>(end.timings().decode_us()) * 1e-6;
    const double first =
        static_cast<double>(end.timings().queue_us() + end.timings().prefill_us()) * 1e-3;
    std::string line;
    if (samples_.size() > 1) line = absl::StrCat("sample ", &sample - samples_.data(), ": ");
    absl::StrAppendFormat(&line, "%d prompt tokens, %d generated in %.2f s", usage.prompt_tokens(),
                          usage.generated_tokens(), total);
    if (usage.generated_tokens() > 1 && decode > 0) {
      absl::StrAppendFormat(&line, " (%.1f tokens/s after the first, which took %.0f ms)",
                            (usage.generated_tokens() - 1) / decode, first);
    }
    const v1::DepthStats& depth = end.generated_depth();
    // A single token never becomes a row, and has no depth of its own rows.
    absl::StrAppend(&line, "; mean depth ",
                    depth.mean_depth() > 0 ? absl::StrFormat("%.2f", depth.mean_depth()) : "-");
    for (int i = 0; i < depth.tokens_by_depth_size(); ++i) {
      absl::StrAppendFormat(&line, "%s%d x %d", i == 0 ? ": " : ", ", depth.tokens_by_depth(i),
                            i + 1);
    }
    absl::StrAppend(&line, "; ended by ", EndName(end), "; seed ", end.seed());
    std::fprintf(stderr, "%s\n", line.c_str());
  }

  // What the message's text looks like on standard output.
  std::string Text(const v1::GenerateResponse& message) const {
    // A pipe gets the bytes as they are.
    if (marks_ == DepthMarks::kNone && !isatty(STDOUT_FILENO)) return message.text();
    std::string text;
    size_t begin = 0;
    for (const v1::Token& token : message.tokens()) {
      const std::string_view part =
          std::string_view(message.text()).substr(begin, token.text_bytes());
      begin += token.text_bytes();
      text += MarkDepth(marks_, part, token.depth());
    }
    return text;
  }

  static std::string EndName(const v1::FinalInfo& end) {
    switch (end.finish_reason()) {
      case v1::FINISH_REASON_END_OF_SEQUENCE:
        return "end of sequence";
      case v1::FINISH_REASON_STOP_STRING:
        return "stop string";
      case v1::FINISH_REASON_STOP_TOKEN:
        return "stop token";
      case v1::FINISH_REASON_LENGTH:
        return "max_tokens";
      case v1::FINISH_REASON_CONTEXT_LIMIT:
        return "context limit";
      case v1::FINISH_REASON_TIME_LIMIT:
        return "time limit";
      case v1::FINISH_REASON_DRAINED:
        return "server shutdown";
      default:
        return "an unknown reason";
    }
  }

  const GenerateFlags& flags_;
  const DepthMarks marks_;
  std::vector<Sample> samples_;
  size_t current_ = 0;  // the sample that is written
  bool has_header_ = false;
};

int Generate(const GenerateFlags& flags) {
  if (flags.ids.empty() && !flags.has_prompt && flags.prompt_file == "-" && isatty(STDIN_FILENO)) {
    std::fprintf(stderr, "recurve: type the prompt, then Ctrl-D\n");
  }
  const auto request = MakeRequest(flags);
  if (!request.ok()) return ReportError(request.status());
  const DepthMarks marks = ChooseDepthMarks(flags.marks, isatty(STDOUT_FILENO) != 0);
  if (flags.echo && !flags.json) std::fputs(Printable(request->text()).c_str(), stdout);
  Printer printer(flags, marks);
  Client client(flags.connection.options());
  CallReport report;
  CallOptions call = flags.connection.call();
  call.report = &report;
  const absl::Status status =
      client.Generate(*request, call, [&](const v1::GenerateResponse& message) {
        printer.Print(message);
        return FlushOutput();
      });
  if (!flags.json && (status.ok() || flags.echo || printer.has_written())) {
    std::fputc('\n', stdout);
  }
  if (!FlushOutput()) return 1;
  if (report.resumes > 0) {
    std::fprintf(stderr, "recurve: went on at another server %d times, last at %s\n",
                 report.resumes, report.last_server.c_str());
  }
  if (!status.ok()) return ReportError(flags.connection.server, status);
  if (!flags.json) printer.PrintFigures();
  return 0;
}

}  // namespace

void AddGenerateCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<GenerateFlags>();
  CLI::App* command = app.add_subcommand("generate", "Stream a completion");
  command->footer(
      "Examples:\n"
      "  recurve generate 'def fibonacci(n):' --max_tokens=60\n"
      "  recurve generate --prompt_file=program.py --temperature=0.8 --seed=1\n"
      "  recurve generate 'def main():' --temperature=1 --samples=3\n"
      "  echo 'import os' | recurve generate --json");
  CLI::Option* prompt = command
                            ->add_option("prompt", flags->prompt,
                                         "The prompt; without it --prompt_file, --ids or standard "
                                         "input")
                            ->group("Prompt");
  CLI::Option* file = command
                          ->add_option("--prompt_file", flags->prompt_file,
                                       "File with the prompt; - is standard input")
                          ->excludes(prompt)
                          ->group("Prompt");
  command->add_option("--ids", flags->ids, "Prompt as token ids, separated by commas")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->transform(WholeNumber(0, std::numeric_limits<uint32_t>::max()))
      ->excludes(prompt, file)
      ->group("Prompt");
  command
      ->add_flag("--no_special_tokens", flags->no_special,
                 "Leave out the template's special tokens")
      ->group("Prompt");
  AddMaxTokensFlag(*command, flags->sampling);
  AddSamplingFlags(*command, flags->sampling);
  command->add_option("--samples", flags->samples, "Completions of the same prompt, one by one")
      ->transform(WholeNumber(1, 16))
      ->capture_default_str()
      ->group("Output");
  command->add_flag("--echo", flags->echo, "Print the prompt first")->group("Output");
  command
      ->add_flag("--json", flags->json,
                 "One JSON object a line: the API's GenerateResponse messages")
      ->group("Output");
  command
      ->add_option(
          "--depth_marks", flags->marks,
          "How each token's recursion depth is shown; auto: colours on a terminal, else none")
      ->check(CLI::IsMember({"auto", "color", "subscript", "none"}))
      ->capture_default_str()
      ->group("Output");
  command
      ->add_option("--logprobs", flags->logprobs,
                   "With --json: log probabilities of the tokens and of this many others")
      ->transform(WholeNumber(0, std::numeric_limits<uint32_t>::max()))
      ->group("Output");
  AddConnectionFlags(*command, Servers::kSeveral, flags->connection);
  AddRetryFlag(*command, flags->connection);
  AddBalanceFlags(*command, flags->connection);
  AddRequestIdFlag(*command, flags->connection, "Name of the request in the server's log");
  command->callback([flags, prompt, &exit_code] {
    flags->has_prompt = prompt->count() > 0;
    exit_code = Generate(*flags);
  });
}

}  // namespace recurve::client
