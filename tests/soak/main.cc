// SPDX-License-Identifier: Apache-2.0
// recurve-soak: see README.md.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/model/config.h"
#include "tests/engine/model/checkpoint_writer.h"
#include "tests/scoped_directory.h"
#include "tests/soak/soak.h"

namespace recurve::soak {
namespace {

// Small, and with every kind of cache group.
constexpr char kConfig[] = R"({"vocab_size": 97, "hidden_size": 64, "intermediate_size": 96,
    "num_hidden_layers": 5, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "max_position_embeddings": 256, "eos_token_id": 96, "torch_dtype": "float32",
    "mor": {"sharing": "middle_cycle", "num_recursions": 3, "kv_mode": "recursion_wise",
            "attention_weights": "tied",
            "router": {"type": "expert_choice", "network": "linear", "function": "sigmoid",
                       "alpha": 0.5, "temperature": 1.0, "gating": "weighted",
                       "sampling": "aux_loss", "threshold": 0.5}}})";
constexpr uint32_t kVocabulary = 97;

// Exit codes. Nothing was found in a run that did not come to its end either; only it says less.
constexpr int kFound = 1, kBadPhases = 2, kIncomplete = 3;

// Streams until it is killed.
[[noreturn]] void StreamForEver(const std::string& address, uint64_t seed) {
  const Workload workload(seed, kVocabulary);
  const auto channel = NewChannel(*ParseAddress(address));
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      Random random(seed + i);
      const auto stub = v1::GenerationService::NewStub(channel);
      while (true) {
        grpc::ClientContext context;
        const auto reader = stub->Generate(&context, workload.Draw(&random).request);
        v1::GenerateResponse message;
        while (reader->Read(&message)) {
        }
        reader->Finish();
      }
    });
  }
  while (true) std::this_thread::sleep_for(std::chrono::hours(1));
}

bool ParseFault(const std::string& name, Fault* fault) {
  for (size_t i = 0; i < kFaultNames.size(); ++i) {
    if (kFaultNames[i] == name) {
      *fault = static_cast<Fault>(i);
      return true;
    }
  }
  std::fprintf(stderr, "--phases: there is no fault '%s'\n", name.c_str());
  return false;
}

// `one+two,three+four`; the second of a pair does not end the server.
bool ParsePhases(const std::string& text, std::vector<Phase>* phases) {
  if (text.empty()) return true;
  const std::vector<std::string> pairs = absl::StrSplit(text, ',');
  for (const std::string& pair : pairs) {
    const std::vector<std::string> names = absl::StrSplit(pair, '+');
    Phase phase;
    if (names.size() != 2 || !ParseFault(names[0], &phase.first) ||
        !ParseFault(names[1], &phase.second) || EndsServer(phase.second)) {
      std::fprintf(stderr,
                   "--phases: '%s' is not FAULT+FAULT, the second not one that ends the server\n",
                   pair.c_str());
      return false;
    }
    phases->push_back(phase);
  }
  return true;
}

int Main(int argc, char** argv) {
  Options options;
  std::string client, phases, keep;
  std::optional<uint64_t> faults;
  std::optional<uint32_t> seconds;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
  CLI::App app("Breaks a server in random ways, and checks that nothing is lost.");
  app.add_option("--seed", options.seed, "Of all that is drawn.");
  app.add_option("--faults", faults,
                 "How many, together; without it as many as --seconds hold, or else 1000.");
  app.add_option("--seconds", seconds,
                 "No phase begins after that; a run that has not had its --faults by then exits "
                 "with 3.");
  app.add_option("--phases", phases, "FAULT+FAULT,...; without it they are drawn.");
  app.add_option("--directory", keep, "For the servers' logs; without it they are lost.");
  app.add_option("--client", client, "Stream from this address until killed, and nothing else.");
  CLI11_PARSE(app, argc, argv);
  if (!client.empty()) StreamForEver(client, options.seed);
  if (!ParsePhases(phases, &options.phases)) return kBadPhases;
  if (!faults && !seconds) faults = 1000;
  if (faults) options.faults = *faults;
  if (seconds) options.seconds = std::chrono::seconds(*seconds);
  std::printf("recurve-soak --seed=%lu%s%s%s\n", options.seed,
              faults ? absl::StrCat(" --faults=", *faults).c_str() : "",
              seconds ? absl::StrCat(" --seconds=", *seconds).c_str() : "",
              phases.empty() ? "" : (" --phases=" + phases).c_str());
  std::fflush(stdout);
  const ScopedDirectory scratch;
  std::vector<std::string> warnings;
  scratch.Write("model/config.json", kConfig);
  scratch.Write("model/model.safetensors",
                SafetensorsFile(RandomTensors(*ParseModelConfig(kConfig, "", &warnings), 7)));
  options.self = self;
  options.server = self.parent_path() / "recurve-server";
  options.faulty_server = self.parent_path() / "recurve-soak-server";
  options.heap_report = self.parent_path() / "recurve-soak-heap.so";
  options.model = scratch.path() + "/model";
  options.directory = keep.empty() ? scratch.path() : keep;
  std::filesystem::create_directories(options.directory);
  options.vocabulary = kVocabulary;
  Findings findings;
  const uint64_t done = Soak(options, &findings).Run();
  if (findings.any()) {
    std::printf("FAILED: run the first line again\n");
    return kFound;
  }
  if (faults && done < *faults) {
    std::printf("INCOMPLETE: nothing found, but --seconds=%u were over after %lu of %lu faults\n",
                *seconds, done, *faults);
    return kIncomplete;
  }
  std::printf("passed\n");
  return 0;
}

}  // namespace
}  // namespace recurve::soak

int main(int argc, char** argv) { return recurve::soak::Main(argc, argv); }
