// SPDX-License-Identifier: Apache-2.0
// OpenCheckpoint on a directory with two good shards and the input as model.safetensors.index.json.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "engine/model/safetensors.h"
#include "tests/fuzz/fuzz.h"

namespace recurve {
namespace {

void WriteFile(const std::string& path, std::string_view content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  RECURVE_CHECK(file.good());
}

// A shard with one tensor `name` of two f16 values.
std::string Shard(const std::string& name) {
  const std::string header =
      R"({")" + name + R"(":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})";
  const uint64_t length = header.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file + header + "abcd";
}

// A model directory in temporary space, removed when the process ends.
class Directory {
 public:
  Directory() {
    const char* root = std::getenv("TMPDIR");
    path_ = std::string(root == nullptr ? "/tmp" : root) + "/recurve-checkpoint-fuzz-XXXXXX";
    RECURVE_CHECK(mkdtemp(path_.data()) != nullptr);
    WriteFile(path_ + "/a", Shard("x"));
    WriteFile(path_ + "/b", Shard("y"));
    // Whoever follows a path out of the directory finds a good shard there.
    RECURVE_CHECK(mkdir((path_ + "/c").c_str(), 0700) == 0);
    WriteFile(path_ + "/c/d", Shard("z"));
  }
  ~Directory() {
    for (const char* file : {"/a", "/b", "/c/d", "/model.safetensors.index.json"}) {
      unlink((path_ + file).c_str());
    }
    rmdir((path_ + "/c").c_str());
    rmdir(path_.c_str());
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace
}  // namespace recurve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const recurve::Directory directory;
  recurve::WriteFile(directory.path() + "/model.safetensors.index.json",
                     recurve::AsText(data, size));
  const auto checkpoint = recurve::OpenCheckpoint(directory.path());
  if (!checkpoint.ok()) {
    // An index may name a shard that is not there.
    if (!absl::IsNotFound(checkpoint.status())) recurve::CheckRefusal(checkpoint.status());
    return 0;
  }
  RECURVE_CHECK(checkpoint->tensors.size() <= 2);
  for (const recurve::StoredTensor& tensor : checkpoint->tensors) {
    RECURVE_CHECK(tensor.name == "x" || tensor.name == "y");
    RECURVE_CHECK(std::memcmp(tensor.data.data(), "abcd", 4) == 0);
  }
  return 0;
}
