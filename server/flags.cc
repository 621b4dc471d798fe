// SPDX-License-Identifier: Apache-2.0
#include "server/flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "engine/base/status_macros.h"
#include "server/version.h"

namespace recurve {
namespace {

// Breaks a help text into lines that fit beside the column of flags on a terminal of 100 columns.
std::string Wrap(const std::string& text) {
  constexpr size_t kWidth = 62;
  std::string wrapped;
  size_t column = 0;
  for (const auto& word : absl::StrSplit(text, ' ')) {
    if (column > 0 && column + 1 + word.size() > kWidth) {
      wrapped += '\n';
      column = 0;
    } else if (column > 0) {
      wrapped += ' ';
      ++column;
    }
    absl::StrAppend(&wrapped, word);
    column += word.size();
  }
  return wrapped;
}

// Writes a flag's type and default as `N [32]`, in the same way with every version of CLI11.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    std::string text;
    if (option->get_type_size() != 0 && !option->get_type_name().empty()) {
      absl::StrAppend(&text, " ", option->get_type_name());
    }
    if (!option->get_default_str().empty()) {
      absl::StrAppend(&text, " [", option->get_default_str(), "]");
    }
    return text;
  }
};

// Adds flags to one group of the help. CLI11 throws on errors; ParseFlags alone catches.
class Group {
 public:
  Group(CLI::App* app, std::string name) : app_(app), name_(std::move(name)) {}

  template <typename T>
  CLI::Option* Value(const std::string& flag, T* value, const std::string& help) {
    return app_->add_option(flag, *value, Wrap(help))->group(name_)->capture_default_str();
  }

  void Switch(const std::string& flag, bool* value, const std::string& help) {
    app_->add_flag(flag, *value, Wrap(help))->group(name_);
  }

  void Choice(const std::string& flag, std::string* value, const std::vector<std::string>& choices,
              const std::string& help) {
    Parsed(flag, *value, absl::StrJoin(choices, "|"), help,
           [flag, value, choices](const std::string& text) {
             if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
               Fail(flag, text, "this version has " + absl::StrJoin(choices, " or "));
             }
             *value = text;
           });
  }

  void Bounded(const std::string& flag, uint32_t* value, uint32_t least, uint32_t most,
               const std::string& help) {
    Parsed(flag, absl::StrCat(*value), "N", help,
           [flag, value, least, most](const std::string& text) {
             if (!absl::SimpleAtoi(text, value) || *value < least || *value > most) {
               Fail(flag, text, absl::StrCat("expected a whole number from ", least, " to ", most));
             }
           });
  }

  // A number, or `auto`, which the engine knows as 0.
  void NumberOrAuto(const std::string& flag, uint32_t* value, const std::string& help) {
    Parsed(flag, "auto", "N|auto", help, [flag, value](const std::string& text) {
      if (text == "auto") {
        *value = 0;
      } else if (!absl::SimpleAtoi(text, value) || *value == 0) {
        Fail(flag, text, "expected a whole number from 1 on, or auto");
      }
    });
  }

  void Duration(const std::string& flag, Milliseconds* value, Milliseconds least,
                const std::string& help) {
    const auto text_of = [](Milliseconds time) {
      return absl::FormatDuration(absl::FromChrono(time));
    };
    Parsed(flag, text_of(*value), "DURATION", help,
           [flag, value, least, text_of](const std::string& text) {
             constexpr Milliseconds kMost = std::chrono::hours(24);
             absl::Duration duration;
             if (!absl::ParseDuration(text, &duration) || duration < absl::FromChrono(least) ||
                 duration > absl::FromChrono(kMost)) {
               Fail(flag, text,
                    absl::StrCat("expected a duration such as 500ms, 30s or 2m, from ",
                                 text_of(least), " to ", text_of(kMost)));
             }
             *value = absl::ToChronoMilliseconds(duration);
           });
  }

  void Parsed(const std::string& flag, const std::string& initial, const std::string& type,
              const std::string& help, const std::function<void(const std::string&)>& parse) {
    app_->add_option_function<std::string>(flag, parse, Wrap(help))
        ->group(name_)
        ->type_name(type)
        ->default_str(initial);
  }

  [[noreturn]] static void Fail(const std::string& flag, const std::string& text,
                                const std::string& expected) {
    throw CLI::ValidationError(flag, absl::StrCat("'", text, "' is not possible: ", expected));
  }

 private:
  CLI::App* const app_;
  const std::string name_;
};

void AddModelFlags(CLI::App* app, ModelOptions* options) {
  Group group(app, "Model");
  group
      .Value("--model", &options->directory,
             "Model directory: config.json, *.safetensors, tokenizer.json. Required.")
      ->type_name("DIR");
  group
      .Value("--model_name", &options->name,
             "Name reported to clients. Default: the directory's last component.")
      ->type_name("NAME");
  group.Choice("--backend", &options->backend, {"cpu"}, "What computes.");
  group.Choice("--precision", &options->precision, {"bf16", "f32"},
               "Of weights, products and cache. bf16 needs half the memory and is faster; f32 is "
               "the reference.");
  group.NumberOrAuto("--threads", &options->threads,
                     "Threads that compute; auto: as many as affinity and the cgroup's CPU quota "
                     "allow. Results do not depend on it.");
  group.Switch("--force_scalar", &options->force_scalar,
               "Plain C++ kernels instead of vector ones: slow, same results bit for bit, for "
               "checking.");
}

void AddScheduleFlags(CLI::App* app, ScheduleLimits* options) {
  Group group(app, "Schedule");
  group.Choice("--policy", &options->policy, {"depthwise", "lockstep"},
               "When first and last layers run: depthwise, in every step, so that a row that is "
               "done never waits; lockstep, only when no row waits for the shared block, as an "
               "engine without depth-wise batching does.");
  group.Value("--slots", &options->slots,
              "Sequences in flight. More raise throughput and the time between two tokens of each; "
              "requests beyond wait in the queue.");
  group.Value("--areas", &options->areas,
              "Prompts in progress at once. More let a short prompt pass a long one, and take "
              "memory for a chunk of hidden rows each.");
  group.Value("--chunk", &options->chunk,
              "Most prompt tokens of one sequence in a step. Longer chunks finish prompts sooner "
              "and make running streams wait longer for a step.");
  group.NumberOrAuto("--ends", &options->ends,
                     "Most generated tokens in the first and last layers of a step; auto: as many "
                     "as slots.");
  group.NumberOrAuto("--block_rows", &options->block_rows,
                     "Most generated tokens in the shared block of a step; auto: as many as slots. "
                     "Fewer rows than slots keep the block full while finished rows wait.");
  group.Value("--prompt_rows", &options->prompt_rows,
              "Most prompt tokens in each stage of a step, over all sequences; at least chunk.");
  group.Switch("--adaptive_depth", &options->adaptive_depth,
               "While requests wait longer than queue_time_goal, run new tokens of requests that "
               "allow it (recursion.adaptive_min) with fewer recursions: less waiting for worse "
               "text. Needs a model of several recursions.");
  group.Duration("--queue_time_goal", &options->queue_time_goal, Milliseconds(1),
                 "Of adaptive_depth: the cap falls by one each such time while some request has "
                 "waited longer for its slot, and rises by one after ten of them without a wait of "
                 "more than half of it.");
  group.Value("--queue_depth", &options->queue_depth,
              "Steps queued behind the running one, 0 or 1. The cpu backend computes when a step "
              "is submitted and gains nothing from 1.");
}

void AddMemoryFlags(CLI::App* app, MemoryOptions* options) {
  Group group(app, "Memory");
  group.NumberOrAuto("--kv_pages", &options->kv_pages,
                     "Pages of the cache; auto: what all slots need with a full context, at most "
                     "kv_memory_share of the free memory. When pages run out the youngest sequence "
                     "is put back and recomputed later.");
  group.Value("--kv_memory_share", &options->kv_memory_share,
              "Share of the free memory (within the cgroup's limit) that kv_pages=auto may take.");
  group.Switch("--prefix_cache", &options->prefix_cache,
               "Compute once what prompts of one tenant have in common at their beginning, in "
               "chunks of 64 tokens, and keep it while nobody else needs the pages. Exact. "
               "--prefix_cache=false turns it off.");
  group.NumberOrAuto("--max_context", &options->max_context,
                     "Most tokens of a sequence, prompt and generated; auto: the model's.");
}

void AddEvictionFlags(CLI::App* app, EvictionOptions* options) {
  Group group(app, "Cache budgets (a cache that forgets; requests may say otherwise)");
  group.Choice("--kv_eviction", &options->policy, {"none", "window", "attention", "router"},
               "Which entries go when a cache group is over its budget: none, exact; window, the "
               "oldest; attention, those that got least of it; router, in a recursion, those whose "
               "router was least sure that they needed it, elsewhere as window.");
  group
      .Value("--kv_budget", &options->budget,
             "Entries that each cache group of a sequence may hold, or a share of the sequence's "
             "length: entry:256,1:256,2:50%,3:50%,exit:256. Groups left out are free. A smaller "
             "budget fits more sequences into the pages, and changes what they say.")
      ->type_name("GROUP:N|P%,...");
  group.Value("--kv_sinks", &options->sinks, "First entries of a group, which always stay.");
  group.Value("--kv_recent", &options->recent,
              "Last entries of a group, which always stay. Together with kv_sinks at most the "
              "smallest budget in entries.");
  group.Bounded("--evict_every", &options->every, 1, 1 << 20,
                "Entries go at positions that are multiples of this; until then a group may hold "
                "that many more. Prompts run in chunks of no more.");
}

void AddAdmissionFlags(CLI::App* app, ScheduleLimits* limits, AdmissionOptions* options) {
  Group group(app, "Admission");
  group.Value("--max_queued_requests", &limits->max_queued_requests,
              "Requests that may wait for a slot; more are refused with RESOURCE_EXHAUSTED. A long "
              "queue turns overload into waiting, a short one into refusals that a balancer can "
              "send elsewhere.");
  group.Value(
      "--max_queued_tokens", &limits->max_queued_tokens,
      "Prompt tokens that may wait for a slot; max_context, if that is more. Divided by the prompt "
      "tokens per second this is the longest wait for a first token.");
  group.Value(
      "--admission_headroom", &limits->admission_headroom,
      "Tokens for which admission leaves pages to each sequence that runs. More means fewer "
      "sequences at once when memory is tight, and fewer that are put back for each other.");
  group.Bounded("--max_preemptions", &limits->max_preemptions, 0, 1000,
                "A request that was put back this often comes back only with pages for all that it "
                "may become, and then stays.");
  group.Value("--default_max_tokens", &limits->default_max_tokens,
              "New tokens of a request that does not say how many.");
  group.Duration("--retry_pushback", &options->retry_pushback, Milliseconds(1),
                 "After how long a refused client should try again (grpc-retry-pushback-ms).");
}

void AddServiceFlags(CLI::App* app, ServerOptions* options, std::string* log_format) {
  Group listening(app, "Listening");
  listening
      .Value("--listen", &options->listen.listen,
             "Address of the gRPC services, in plain text and without authentication: open it to "
             "trusted networks only. Port 0: the system chooses.")
      ->type_name("HOST:PORT");
  listening
      .Value("--metrics_listen", &options->listen.metrics_listen,
             "Address of GET /metrics for Prometheus; the host is a numeric address.")
      ->type_name("HOST:PORT");
  listening
      .Value("--port_file", &options->listen.port_file,
             "Write the ports to this file once listening, as the lines grpc_port=N and "
             "metrics_port=N.")
      ->type_name("FILE");
  listening.Bounded("--max_message_bytes", &options->listen.max_message_bytes, 1024, 1 << 30,
                    "Largest request message; larger ones are refused with RESOURCE_EXHAUSTED.");

  Group streams(app, "Streams");
  streams.Duration(
      "--stream_stall_timeout", &options->stream.stall_timeout, Milliseconds(10),
      "A call whose client does not take a message, or a whole answer, for this long is "
      "cancelled.");
  streams.Bounded("--stream_buffer_tokens", &options->stream.buffer_tokens, 1,
                  std::numeric_limits<uint32_t>::max(),
                  "Tokens of one stream that may wait for a slow client; one more and it is "
                  "cancelled.");

  Group draining(app, "Shutdown (SIGTERM, SIGINT; a second one ends at once)");
  draining.Duration("--drain_grace", &options->drain.grace, Milliseconds(0),
                    "Go on accepting for this long after the signal, with health NOT_SERVING, "
                    "while balancers take the server out. On Kubernetes 5s to 15s.");
  draining.Duration("--drain_budget", &options->drain.budget, Milliseconds(0),
                    "Then refuse new requests and let running ones go on for this long; what "
                    "still runs ends with the text so far and the reason DRAINED.");
  draining.Duration("--drain_flush", &options->drain.flush, Milliseconds(0),
                    "Then give clients this long, and no longer than stream_stall_timeout, to "
                    "take their last messages; calls that are still open are cut. The process "
                    "ends within drain_grace, drain_budget, drain_flush and a second.");

  Group logging(app, "Log (stderr)");
  logging.Choice("--log_format", log_format, {"text", "json"},
                 "Lines of key=value, or of one JSON object.");
}

std::string ErrorText(const CLI::ParseError& error) {
  std::string text = error.what();
  return text.empty() ? error.get_name() : text;
}

// CLI11 names no more than the key.
std::string ErrorText(const CLI::ConfigError& error) {
  const std::string_view text = error.what();
  constexpr std::string_view kUnknown = "INI was not able to parse ";
  if (text.substr(0, kUnknown.size()) != kUnknown) return std::string(text);
  return absl::StrCat("--config: the file sets '", std::string(text.substr(kUnknown.size())),
                      "', which is no flag; its lines are flag = value, without sections");
}

// CLI11 takes the argument that follows `--flag=` as its value.
absl::Status CheckFlagsHaveValues(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.substr(0, 2) != "--" || argument.find('=') != argument.size() - 1) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(argv[i], " has no value behind its '='; give one, or leave the flag out"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::variant<ServerOptions, std::string>> ParseFlags(int argc,
                                                                    const char* const* argv) {
  ServerOptions options;
  std::string log_format = "text";
  CLI::App app("Serves a Mixture-of-Recursions language model over gRPC.", "recurve-server");
  app.formatter(std::make_shared<HelpFormatter>());
  app.get_formatter()->column_width(36);
  app.set_help_flag("--help", "Print this help and exit.")->group("General");
  app.set_version_flag("--version", std::string("recurve-server ") + kVersion,
                       "Print the version and exit.")
      ->group("General");
  app.set_config("--config", "",
                 Wrap("Read flags from this file, a line `flag = value` each; the command line "
                      "wins. For a Kubernetes ConfigMap."))
      ->group("General")
      ->type_name("FILE");
  app.allow_config_extras(CLI::config_extras_mode::error);
  AddModelFlags(&app, &options.engine.model);
  AddScheduleFlags(&app, &options.engine.schedule);
  AddMemoryFlags(&app, &options.engine.memory);
  AddEvictionFlags(&app, &options.engine.eviction);
  AddAdmissionFlags(&app, &options.engine.schedule, &options.admission);
  AddServiceFlags(&app, &options, &log_format);
  RETURN_IF_ERROR(CheckFlagsHaveValues(argc, argv));
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return app.help();
  } catch (const CLI::CallForVersion& version) {
    return absl::StrCat(version.what(), "\n");
  } catch (const CLI::ConfigError& error) {
    return absl::InvalidArgumentError(ErrorText(error));
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(ErrorText(error));
  }
  // Not left to CLI11, which would name a missing flag before a misspelt one.
  if (options.engine.model.directory.empty()) {
    return absl::InvalidArgumentError("--model is required");
  }
  options.log.format = log_format == "json" ? LogFormat::kJson : LogFormat::kText;
  return options;
}

}  // namespace recurve
