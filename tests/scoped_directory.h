// SPDX-License-Identifier: Apache-2.0
// A directory of one test's own: tests run side by side, and so do the build trees of one machine.
#ifndef RECURVE_TESTS_SCOPED_DIRECTORY_H_
#define RECURVE_TESTS_SCOPED_DIRECTORY_H_

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace recurve {

// Made empty, removed with what it then holds.
class ScopedDirectory {
 public:
  ScopedDirectory() : path_(testing::TempDir() + "recurve_test_XXXXXX") {
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("cannot make " + path_);
  }
  ScopedDirectory(const ScopedDirectory&) = delete;
  ScopedDirectory& operator=(const ScopedDirectory&) = delete;
  ~ScopedDirectory() { std::filesystem::remove_all(path_); }

  const std::string& path() const { return path_; }

  // Writes the file `name`, making the directories on the way to it.
  void Write(const std::string& name, std::string_view bytes) const {
    const std::filesystem::path file = path_ + "/" + name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream stream(file, std::ios::binary);
    stream.exceptions(std::ios::failbit | std::ios::badbit);
    stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    stream.close();
  }

 private:
  std::string path_;
};

}  // namespace recurve

#endif  // RECURVE_TESTS_SCOPED_DIRECTORY_H_
