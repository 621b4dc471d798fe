// SPDX-License-Identifier: Apache-2.0
#include "server/flags.h"

#include <CLI/CLI.hpp>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/flag_values.h"
#include "engine/base/quotable.h"
#include "engine/base/status_macros.h"
#include "server/config_file.h"
#include "server/flag_group.h"
#include "server/security_flags.h"

namespace recurve {
namespace {

void AddModelFlags(CLI::App* app, ModelOptions* options) {
  FlagGroup group(app, "Model");
  group
      .Value("--model", &options->directory,
             "Model directory: config.json, *.safetensors, tokenizer.json. Required.")
      ->type_name("DIR");
  group
      .Value("--model_name", &options->name,
             "Name reported to clients, UTF-8. Default: the directory's last component.")
      ->type_name("NAME");
  group.Choice("--backend", &options->backend, {"cpu", "cuda", "null"},
               "What computes: cpu, or cuda, a card of NVIDIA's, where the build has that "
               "(`cmake --preset cuda`). null computes nothing and answers any token at once: to "
               "test and measure all the rest.");
  group.Value("--device", &options->device,
              "Of cuda: the card's number among those that CUDA_VISIBLE_DEVICES shows. A process "
              "uses one card, or one MIG instance; for several, start a server for each.");
  group.Switch("--cuda_eager", &options->cuda_eager,
               "Of cuda: launch kernel by kernel instead of in graphs, so that an error names its "
               "kernel: slow, same results bit for bit, for checking.");
  group.Switch(
      "--cuda_overlap", &options->cuda_overlap,
      "Of cuda, from compute capability 9.0 on: with few rows a kernel fetches weights while "
      "the one before it still runs. Same results bit for bit; false to compare times.");
  group.Switch("--deterministic", &options->deterministic,
               "Of cuda in bf16: the bits of a row depend on the row alone, whatever else is "
               "computed. false gives products of 256 rows and more to cuBLASLt, if that is "
               "installed: prompts may be faster, and weights take twice the memory.");
  group.Choice(
      "--precision", &options->precision, {"bf16", "f32", "int8"},
      "Of weights and products. bf16 needs half the memory of f32 and is faster; f32 is the "
      "reference. int8, of cpu alone, halves the weights again, with a scale a row.");
  group.Choice("--kv_precision", &options->kv_precision, {"auto", "f32", "bf16", "int8"},
               "Of the cache's keys and values; auto: f32 with --precision=f32, else bf16. int8 "
               "takes little more than half the memory of bf16, so that twice as many tokens fit; "
               "each key and value has a scale of its own. cuda has auto alone.");
  group.NumberOrAuto("--threads", &options->threads,
                     "Threads that compute; auto: as many as affinity and the cgroup's CPU quota "
                     "allow. Results do not depend on it.");
  group.Choice("--isa", &options->isa, {"auto", "scalar", "neon", "avx2", "avx512", "amx"},
               "Of cpu: the instruction set of its kernels; auto: the fastest that the machine "
               "has. Same results bit for bit: another is for checking and comparing, scalar the "
               "plain C++ kernels, which are slow.");
}

void AddScheduleFlags(CLI::App* app, ScheduleLimits* options) {
  FlagGroup group(app, "Schedule");
  group.Choice("--policy", &options->policy, {"staged", "depthwise", "lockstep"},
               "When first and last layers run: depthwise, in every step, so that a row that is "
               "done never waits; lockstep, only when no row waits for the shared block, as an "
               "engine without depth-wise batching does; staged, when so many rows wait that a "
               "token costs least, as measured at the start, and a row waits no longer than all "
               "slots take for all recursions. Same results bit for bit.");
  group.Value("--slots", &options->slots,
              "Sequences in flight. More raise throughput and the time between two tokens of each; "
              "requests beyond wait in the queue.");
  group.Value("--areas", &options->areas,
              "Prompts in progress at once. More let a short prompt pass a long one, and take "
              "memory for a chunk of hidden rows each.");
  group.Value("--chunk", &options->chunk,
              "Most prompt tokens of one sequence in a step. While streams generate chunks are as "
              "short as it takes, on this machine, for a step to take at most twice the time.");
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
  group.BoundedOrAuto("--queue_depth", &options->queue_depth, 0, 1,
                      "Steps queued behind the running one, 0 or 1; auto: what the backend is best "
                      "with, 0 for cpu, which computes when a step is submitted, 1 for cuda.");
  group.Duration("--step_timeout", &options->step_timeout, Milliseconds(100),
                 "A step that has not come back after this long never will: calls end with "
                 "UNAVAILABLE, so that clients go elsewhere, and the process exits with code 70, "
                 "so that it is started anew. Well above the longest step, which a prompt chunk on "
                 "few threads makes long.");
}

void AddMemoryFlags(CLI::App* app, MemoryOptions* options) {
  FlagGroup group(app, "Memory");
  group.NumberOrAuto("--kv_pages", &options->kv_pages,
                     "Pages of the cache; auto: what all slots need with a full context, at most "
                     "kv_memory_share of the free memory. When pages run out the youngest sequence "
                     "is put back and recomputed later.");
  group.ShareOrAuto("--kv_memory_share", &options->kv_memory_share,
                    "Share of the free memory that kv_pages=auto may take; auto: 0.5 for cpu, of "
                    "what the machine and the cgroup have left beside the weights, 0.9 for cuda, "
                    "of what the card has left beside weights and tables.");
  group.Switch("--prefix_cache", &options->prefix_cache,
               "Compute once what prompts of one tenant have in common at their beginning, in "
               "pieces of 64 tokens, and keep it while nobody else needs the pages. Exact. "
               "--prefix_cache=false turns it off.");
  group.NumberOrAuto("--max_context", &options->max_context,
                     "Most tokens of a sequence, prompt and generated; auto: the model's.");
}

void AddEvictionFlags(CLI::App* app, EvictionOptions* options) {
  FlagGroup group(app, "Cache budgets (a cache that forgets; requests may say otherwise)");
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
  FlagGroup group(app, "Admission");
  group.Value("--max_queued_requests", &limits->max_queued_requests,
              "Requests that may wait for a slot; more are refused with RESOURCE_EXHAUSTED. A long "
              "queue turns overload into waiting, a short one into refusals that a balancer can "
              "send elsewhere.");
  group.Value(
      "--max_queued_tokens", &limits->max_queued_tokens,
      "Prompt tokens that may wait for a slot; max_context, if that is more. Divided by the prompt "
      "tokens per second this is the longest wait for a first token.");
  group.Value(
      "--max_queued_bytes", &options->max_queued_bytes,
      "Bytes of calls that may wait to be tokenized, as max_queued_requests is their number: for "
      "prompts up to 64 KiB, for longer ones, and for short and for longer Tokenize and Detokenize "
      "calls, each for itself. More are refused with RESOURCE_EXHAUSTED.");
  group.Value(
      "--admission_headroom", &limits->headroom,
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
  FlagGroup listening(app, "Listening");
  listening.ListenAddress(
      "--listen", &options->listen.listen,
      "Address of the gRPC services. Without tls_cert in plain text, and without access_file for "
      "everybody: open it to trusted networks only. HOST:PORT, where HOST is an IPv4 address, an "
      "IPv6 address in brackets or a "
      "name such as localhost, and port 0 lets the system choose; or unix:/PATH, an absolute path. "
      "0.0.0.0 is every IPv4 address of the machine, [::] every address, IPv4 too.");
  listening.ListenAddress("--metrics_listen", &options->listen.metrics_listen,
                          "Address of GET /metrics for Prometheus, and of /healthz and /readyz, in "
                          "the same forms; plain text, for everybody.");
  listening.ListenAddressOrNone(
      "--health_listen", &options->listen.health_listen,
      "Address of grpc.health.v1 alone, in plain text and for everybody, in the same forms: for "
      "probes that speak neither TLS nor tokens. It tells what the gRPC port does. none: none.");
  listening.Bounded("--max_metrics_connections", &options->listen.max_metrics_connections, 1, 1024,
                    "Connections to the metrics port at once; for one more, that is closed which "
                    "has been silent longest.");
  listening.Duration("--metrics_stall_timeout", &options->listen.metrics_stall_timeout,
                     Milliseconds(10),
                     "A connection to the metrics port that sends no whole request, or does not "
                     "take its answer, for this long is closed.");
  listening
      .Value("--port_file", &options->listen.port_file,
             "Once listening, write here where, a line each: grpc_address=ADDRESS and "
             "metrics_address=ADDRESS, and, but for unix sockets, grpc_port=N and metrics_port=N; "
             "with health_listen also health_address and health_port. "
             "A regular file that is there is replaced, anything else refused; the file is removed "
             "when the server ends.")
      ->type_name("FILE");
  listening.Bounded("--max_message_bytes", &options->listen.max_message_bytes, 1024, 1 << 30,
                    "Largest request message; larger ones are refused with RESOURCE_EXHAUSTED.");
  listening.NumberOrAuto(
      "--max_connections", &options->listen.max_connections,
      "Connections to the gRPC port at once; more are closed at once, so that their clients see "
      "UNAVAILABLE and try again or elsewhere. auto: as many as the hard limit of open files "
      "(ulimit -Hn) allows beside what the server itself needs, at most 16384.");
  listening.Duration("--self_check_interval", &options->self_check.interval, Milliseconds(10),
                     "How often the server calls its own gRPC port, over a new connection each "
                     "time, as a client would.");
  listening.Duration("--self_check_timeout", &options->self_check.timeout, Milliseconds(10),
                     "After this long without an answer to such calls health, liveness too, is "
                     "NOT_SERVING until one is answered. Shorter finds a deaf port sooner, and "
                     "may take a very busy machine for one.");

  FlagGroup streams(app, "Streams");
  streams.Duration(
      "--stream_stall_timeout", &options->stream.stall_timeout, Milliseconds(10),
      "A call whose client does not take a message, or a whole answer, for this long is "
      "cancelled.");
  streams.Bounded("--stream_buffer_tokens", &options->stream.buffer_tokens, 1,
                  std::numeric_limits<uint32_t>::max(),
                  "Tokens of one stream that may wait for a slow client; one more and it is "
                  "cancelled.");

  FlagGroup draining(app, "Shutdown (SIGTERM, SIGINT, SIGHUP)");
  draining.Duration("--drain_grace", &options->drain.grace, Milliseconds(0),
                    "Go on accepting for this long after SIGTERM, or SIGINT or SIGHUP where they "
                    "are not ignored at start, with health NOT_SERVING, "
                    "while balancers take the server out. On Kubernetes 5s to 15s.");
  draining.Duration("--drain_budget", &options->drain.budget, Milliseconds(0),
                    "Then refuse new requests and let running ones go on for this long; what "
                    "still runs ends with the text so far and the reason DRAINED.");
  draining.Duration("--drain_flush", &options->drain.flush, Milliseconds(0),
                    "Then give clients this long, and no longer than stream_stall_timeout, to "
                    "take their last messages; calls that are still open are cut. The process "
                    "ends within drain_grace, drain_budget, drain_flush, a second and the step "
                    "that runs, which step_timeout bounds. A further signal ends it at once, "
                    "unless it comes within a second of the first.");

  FlagGroup logging(app, "Log (stderr)");
  logging.Choice("--log_format", log_format, {"text", "json"},
                 "Lines of key=value, or of one JSON object. Those of gRPC and protobuf, which "
                 "clients can cause with messages that are none, are events `library`: ten at "
                 "once, then one a second, with the number of those suppressed.");
  logging.Switch(
      "--log_prompts", &options->log.prompts,
      "Write the prompt of each call that generates, up to 4 KiB of it, into the line that it has "
      "in the log. Otherwise nothing that clients ask or are told is in any line.");
}

// A line of the file is the argument that it would be on the command line.
absl::Status ApplyConfigLine(const ConfigLine& line, CLI::App* app) {
  std::string argument = "--" + line.flag;
  const CLI::Option* option = app->get_option_no_throw(argument);
  if (option == nullptr || !option->get_configurable()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", Quotable(line.flag),
                     "' is no flag that a file can set; lines are "
                     "flag = value, with the names of --help without their dashes"));
  }
  if (line.value.has_value()) {
    absl::StrAppend(&argument, "=", *line.value);
  } else if (option->get_expected_min() > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(line.flag, " has no value; write ", line.flag, " = value"));
  }
  return ParseArguments({argument}, app);
}

absl::Status ApplyConfigFile(const std::string& path, CLI::App* app) {
  ASSIGN_OR_RETURN(const std::vector<ConfigLine> lines, ReadConfigFile(path));
  for (const ConfigLine& line : lines) {
    const absl::Status status = ApplyConfigLine(line, app);
    if (!status.ok()) return ConfigLineError(path, line.number, std::string(status.message()));
  }
  return absl::OkStatus();
}

// What several flags name together must not be one thing.
absl::Status CheckListening(const ListenOptions& options) {
  std::vector<std::pair<const char*, const Address*>> addresses = {
      {"--listen", &options.listen}, {"--metrics_listen", &options.metrics_listen}};
  if (options.health_listen) addresses.emplace_back("--health_listen", &*options.health_listen);
  for (size_t i = 0; i < addresses.size(); ++i) {
    const auto& [flag, address] = addresses[i];
    for (size_t j = 0; j < i; ++j) {
      const auto& [other_flag, other] = addresses[j];
      if (*address == *other && (address->is_unix() || address->port != 0)) {
        return absl::InvalidArgumentError(absl::StrCat(flag, ": ", address->ToString(),
                                                       " is the address of ", other_flag,
                                                       " too; give another"));
      }
    }
    if (!options.port_file.empty() && options.port_file == address->path) {
      return absl::InvalidArgumentError(absl::StrCat("--port_file: ", options.port_file,
                                                     " is a socket to listen on; give another"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::variant<ServerOptions, std::string>> ParseFlags(int argc,
                                                                    const char* const* argv) {
  ServerOptions options;
  std::string log_format = "text";
  std::string config;
  CLI::App app("Serves a Mixture-of-Recursions language model over gRPC.", "recurve-server");
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  const GeneralFlags general(&app);
  FlagGroup(&app, "General")
      .Value("--config", &config,
             "Read flags from this file, a line `flag = value` each, as the command line would "
             "take them; the command line wins. Values go to the end of the line, without blanks "
             "around them, or stand in quotes; # begins a comment. For a Kubernetes ConfigMap.")
      ->configurable(false)
      ->type_name("FILE");
  AddModelFlags(&app, &options.engine.model);
  AddScheduleFlags(&app, &options.engine.schedule);
  AddMemoryFlags(&app, &options.engine.memory);
  AddEvictionFlags(&app, &options.engine.eviction);
  AddAdmissionFlags(&app, &options.engine.schedule, &options.admission);
  AddServiceFlags(&app, &options, &log_format);
  AddSecurityFlags(&app, &options.tls, &options.access);
  AddConnectionFlags(&app, &options.connection);
  RETURN_IF_ERROR(CheckFlagsHaveValues(argc, argv));
  const std::vector<std::string> arguments(std::make_reverse_iterator(argv + argc),
                                           std::make_reverse_iterator(argv + 1));
  RETURN_IF_ERROR(ParseArguments(arguments, &app));
  if (auto text = general.TextAskedFor()) return *std::move(text);
  if (!config.empty()) {
    // The command line, which named the file, goes over it.
    RETURN_IF_ERROR(ApplyConfigFile(config, &app));
    RETURN_IF_ERROR(ParseArguments(arguments, &app));
  }
  // Not left to CLI11, which would name a missing flag before a misspelt one.
  if (options.engine.model.directory.empty()) {
    return absl::InvalidArgumentError("--model is required");
  }
  RETURN_IF_ERROR(CheckListening(options.listen));
  options.log.format = log_format == "json" ? LogFormat::kJson : LogFormat::kText;
  return options;
}

}  // namespace recurve
