// SPDX-License-Identifier: Apache-2.0
// Holds the tree against docs/architecture.md: includes run only downwards, and the engine neither
// includes nor links gRPC and protobuf; of the server its room grpc/ and server.cc alone include
// them.
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"

namespace recurve {
namespace {

namespace fs = std::filesystem;

using Ranks = std::map<std::string, int, std::less<>>;

// Rank of each layer inside engine/; a file may include its own layer and lower ranks. Backends
// execute what engine/backend declares and know nothing of kv/. Files directly in engine/ are the
// facade on top of them; engine/bench is a program above it.
const Ranks& EngineRanks() {
  static const auto* ranks = new Ranks{
      {"base", 0},
      {"sampling", 1},
      {"tokenizer", 1},
      {"api", 2},
      {"model", 2},
      {"backend", 3},
      {"kv", 4},
      {"backend/cpu/kernels", 4},
      {"backend/cpu", 5},
      {"backend/cuda", 5},
      {"backend/null", 5},
      {"schedule", 5},
      {"backend/factory", 6},
      {"", 7},
      {"bench", 8},
  };
  return *ranks;
}

// The folder: "engine/backend/cpu/kernels/isa.h" -> "backend/cpu"; "engine/engine.h" -> "".
std::string EngineLayer(const std::string& path) {
  const size_t begin = std::string_view("engine/").size();
  const size_t slash = path.rfind('/');
  return slash < begin ? "" : path.substr(begin, slash - begin);
}

// Rank of each room of server/ and of each file beside the rooms, by the same rule.
const Ranks& ServerRanks() {
  static const auto* ranks = new Ranks{
      {"address", 0},        {"config_file", 0}, {"signal_policy", 0}, {"version", 0},
      {"flag_group", 1},     {"options", 1},     {"port_file", 1},     {"flags", 3},
      {"observe/", 2},       {"access/", 3},     {"call/", 4},         {"net/", 4},
      {"grpc/", 5},          {"server", 6},      {"lifecycle", 7},     {"main", 8},
      {"security_flags", 2}, {"signals", 3},
  };
  return *ranks;
}

// The room, or the name of a file beside the rooms: "server/call/egress.h" -> "call/";
// "server/flags.cc" -> "flags".
std::string ServerPart(const std::string& path) {
  const std::string inside = path.substr(std::string_view("server/").size());
  const size_t slash = inside.rfind('/');
  return slash == std::string::npos ? inside.substr(0, inside.find('.'))
                                    : inside.substr(0, slash + 1);
}

std::vector<std::string> SourceFiles(const std::string& folder) {
  std::vector<std::string> files;
  const fs::path root = RECURVE_SOURCE_DIR;
  for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
    const std::string extension = entry.path().extension();
    if (extension == ".h" || extension == ".cc" || extension == ".cu" || extension == ".cuh") {
      files.push_back(fs::relative(entry.path(), root));
    }
  }
  return files;
}

// Every file named by an #include of `file`, quoted or in angle brackets.
std::vector<std::string> Includes(const std::string& file) {
  std::vector<std::string> includes;
  std::ifstream stream(fs::path(RECURVE_SOURCE_DIR) / file);
  for (std::string line; std::getline(stream, line);) {
    if (line.rfind("#include", 0) != 0) continue;
    const size_t begin = line.find_first_of("\"<");
    const size_t end = line.find_first_of("\">", begin + 1);
    if (end != std::string::npos) includes.push_back(line.substr(begin + 1, end - begin - 1));
  }
  return includes;
}

bool StartsWith(const std::string& text, std::string_view prefix) {
  return text.rfind(prefix, 0) == 0;
}

// Each include of a file in `folder` by another there names a part of lower rank, or its own.
void ExpectIncludesRunDownwards(const std::string& folder, const Ranks& ranks,
                                const std::function<std::string(const std::string&)>& part_of) {
  int checked = 0;
  for (const std::string& file : SourceFiles(folder)) {
    const std::string part = part_of(file);
    ASSERT_TRUE(ranks.contains(part)) << file << ": " << folder << "/" << part << " has no rank";
    for (const std::string& include : Includes(file)) {
      if (!StartsWith(include, folder + "/")) continue;
      ++checked;
      const std::string other = part_of(include);
      ASSERT_TRUE(ranks.contains(other)) << file << " includes " << include;
      EXPECT_TRUE(other == part || ranks.at(other) < ranks.at(part))
          << file << " includes " << include << ", which is not below it";
    }
  }
  EXPECT_GT(checked, 50) << "the includes of " << folder << " were not found";
}

TEST(Layers, EngineIncludesRunDownwards) {
  ExpectIncludesRunDownwards("engine", EngineRanks(), EngineLayer);
}

TEST(Layers, ServerIncludesRunDownwards) {
  ExpectIncludesRunDownwards("server", ServerRanks(), ServerPart);
}

// The other rooms are what ThreadSanitizer watches, and what another front end can use.
TEST(Layers, OnlyTheGrpcRoomAndTheServerKnowGrpcAndProtobuf) {
  int knowing = 0;
  for (const std::string& file : SourceFiles("server")) {
    const std::string part = ServerPart(file);
    const bool may_know = part == "grpc/" || part == "server";
    for (const std::string& include : Includes(file)) {
      for (const char* prefix : {"grpc", "google/protobuf", "recurve/v1"}) {
        if (!StartsWith(include, prefix)) continue;
        ++knowing;
        EXPECT_TRUE(may_know) << file << " includes " << include;
      }
    }
  }
  EXPECT_GT(knowing, 5) << "the includes of gRPC were not found";
}

// "cpu" of "engine/backend/cpu/kernels/isa.h"; "" of what is in no backend's folder.
std::string BackendOf(const std::string& path) {
  constexpr std::string_view kBackend = "engine/backend/";
  if (!StartsWith(path, kBackend)) return "";
  const size_t slash = path.find('/', kBackend.size());
  const std::string name =
      slash == std::string::npos ? "" : path.substr(kBackend.size(), slash - kBackend.size());
  return name == "factory" ? "" : name;
}

TEST(Layers, OnlyTheFactoryAndItsOwnFolderKnowABackend) {
  int checked = 0;
  for (const char* folder : {"engine", "server", "client", "tests"}) {
    for (const std::string& file : SourceFiles(folder)) {
      for (const std::string& include : Includes(file)) {
        const std::string backend = BackendOf(include);
        if (backend.empty()) continue;
        ++checked;
        // The emulator stands in for what is below the CUDA backend.
        const bool emulates = backend == "cuda" && StartsWith(file, "tests/simt/");
        // The lists of the CPU backend are what the planner's are held against.
        const bool compares =
            backend == "cpu" && StartsWith(file, "tests/engine/backend/cuda/cpu_lists.");
        EXPECT_TRUE(emulates || compares || StartsWith(file, "engine/backend/factory/") ||
                    StartsWith(file, "engine/backend/" + backend + "/") ||
                    StartsWith(file, "tests/engine/backend/" + backend + "/"))
            << file << " includes " << include;
      }
    }
  }
  EXPECT_GT(checked, 50) << "the backend's includes were not found";
}

TEST(Layers, EngineKnowsNothingAboveIt) {
  for (const std::string& file : SourceFiles("engine")) {
    for (const std::string& include : Includes(file)) {
      for (const char* above :
           {"grpc", "google/protobuf", "server/", "client/", "recurve/v1", "prometheus"}) {
        EXPECT_FALSE(StartsWith(include, above)) << file << " includes " << include;
      }
    }
  }
}

TEST(Layers, ServerIncludesTheEngineThroughItsFacade) {
  for (const std::string& file : SourceFiles("server")) {
    for (const std::string& include : Includes(file)) {
      EXPECT_FALSE(StartsWith(include, "client/")) << file << " includes " << include;
      if (!StartsWith(include, "engine/") || StartsWith(include, "engine/base/") ||
          StartsWith(include, "engine/api/")) {
        continue;
      }
      EXPECT_EQ(include, "engine/engine.h") << file;
    }
  }
}

constexpr std::string_view kGateway = "client/gateway/";

TEST(Layers, ClientKnowsTheProtoAlone) {
  for (const std::string& file : SourceFiles("client")) {
    if (StartsWith(file, kGateway)) continue;
    for (const std::string& include : Includes(file)) {
      EXPECT_FALSE(StartsWith(include, "engine/") || StartsWith(include, "server/") ||
                   StartsWith(include, kGateway))
          << file << " includes " << include;
    }
  }
}

// A server to HTTP's clients, of the same parts as ours, and a client of ours by the library alone.
TEST(Layers, GatewayKnowsTheClientLibraryAndWhatServersShare) {
  int checked = 0;
  for (const std::string& file : SourceFiles("client/gateway")) {
    for (const std::string& include : Includes(file)) {
      const bool ours = StartsWith(include, "client/");
      const bool is_library =
          include.find('/', std::string_view("client/").size()) == std::string::npos;
      EXPECT_TRUE(!ours || is_library || StartsWith(include, kGateway))
          << file << " includes " << include;
      if (StartsWith(include, "engine/")) {
        EXPECT_TRUE(StartsWith(include, "engine/base/")) << file << " includes " << include;
      }
      if (StartsWith(include, "server/")) {
        ++checked;
        const int rank = ServerRanks().at(ServerPart(include));
        EXPECT_LT(rank, ServerRanks().at("grpc/")) << file << " includes " << include;
      }
      EXPECT_FALSE(StartsWith(include, "boost/")) << file << " includes " << include;
    }
  }
  EXPECT_GT(checked, 5) << "the gateway's includes were not found";
}

TEST(Layers, EngineLinksNeitherGrpcNorProtobuf) {
  // recurve-bench links the whole engine and nothing else of ours.
  FILE* pipe = popen("ldd '" RECURVE_BENCH_BINARY "' 2>&1", "r");
  ASSERT_NE(pipe, nullptr);
  std::string libraries;
  std::array<char, 4096> buffer;
  while (const size_t size = fread(buffer.data(), 1, buffer.size(), pipe)) {
    libraries.append(buffer.data(), size);
  }
  ASSERT_EQ(pclose(pipe), 0) << libraries;
  EXPECT_NE(libraries.find("libc.so"), std::string::npos) << libraries;
  EXPECT_EQ(libraries.find("grpc"), std::string::npos) << libraries;
  EXPECT_EQ(libraries.find("protobuf"), std::string::npos) << libraries;
}

}  // namespace
}  // namespace recurve
