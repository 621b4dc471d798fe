// SPDX-License-Identifier: Apache-2.0
#include "server/port_file.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

using testing::HasSubstr;

const Address kGrpc{.host = "127.0.0.1", .port = 50051, .path = ""};
const Address kMetrics{.host = "::1", .port = 9090, .path = ""};

class PortFileTest : public testing::Test {
 protected:
  std::unique_ptr<PortFile> Prepared() {
    auto file = PortFile::Prepare(path_);
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? *std::move(file) : nullptr;
  }
  std::string Text() const {
    std::ifstream file(path_);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string Error() const { return std::string(PortFile::Prepare(path_).status().message()); }
  // Names in the directory.
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
      names.push_back(entry.path().filename());
    }
    return names;
  }
  int MakeSocket() const {
    const ScopedDescriptor socket(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
    return bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address));
  }
  // Makes, one after the other, what no port file may replace.
  std::vector<std::function<int()>> Others() const {
    return {[this] { return mkfifo(path_.c_str(), 0600); },
            [this] { return mkdir(path_.c_str(), 0700); }, [this] { return MakeSocket(); },
            [this] { return symlink("/dev/null", path_.c_str()); },
            [this] { return symlink("nowhere", path_.c_str()); }};
  }

  const ScopedDirectory directory_;
  const std::string path_ = directory_.path() + "/ports";
};

TEST_F(PortFileTest, IsThereBetweenPublishAndTheEnd) {
  auto file = Prepared();
  EXPECT_FALSE(std::filesystem::exists(path_));
  ASSERT_TRUE(file->Publish({{"grpc", kGrpc}, {"metrics", kMetrics}}).ok());
  EXPECT_EQ(Text(),
            "grpc_port=50051\ngrpc_address=127.0.0.1:50051\n"
            "metrics_port=9090\nmetrics_address=[::1]:9090\n");
  EXPECT_EQ(Names().size(), 1U);
  file.reset();
  EXPECT_TRUE(Names().empty());
}

TEST_F(PortFileTest, UnixSocketsHaveNoPort) {
  const auto file = Prepared();
  ASSERT_TRUE(file->Publish({{"grpc", {.host = "", .port = 0, .path = "/run/r.sock"}},
                             {"metrics", kMetrics}})
                  .ok());
  EXPECT_EQ(Text(),
            "grpc_address=unix:/run/r.sock\nmetrics_port=9090\nmetrics_address=[::1]:9090\n");
}

TEST_F(PortFileTest, APortForHealthIsToldOf) {
  const auto file = Prepared();
  ASSERT_TRUE(
      file->Publish(
              {{"grpc", kGrpc}, {"metrics", kMetrics}, {"health", Address{"127.0.0.1", 7, ""}}})
          .ok());
  EXPECT_TRUE(Text().ends_with("health_port=7\nhealth_address=127.0.0.1:7\n")) << Text();
}

TEST_F(PortFileTest, TheDraftGoesWithoutPublish) {
  Prepared().reset();
  EXPECT_TRUE(Names().empty());
}

TEST_F(PortFileTest, ARegularFileIsReplaced) {
  directory_.Write("ports", "old");
  const auto file = Prepared();
  EXPECT_EQ(Text(), "old");
  ASSERT_TRUE(file->Publish({{"grpc", kGrpc}, {"metrics", kMetrics}}).ok());
  EXPECT_THAT(Text(), HasSubstr("grpc_port=50051\n"));
}

TEST_F(PortFileTest, WhatIsNoRegularFileIsLeftAlone) {
  for (const auto& make : Others()) {
    ASSERT_EQ(make(), 0);
    const auto type = std::filesystem::symlink_status(path_).type();
    EXPECT_THAT(Error(), HasSubstr("--port_file: cannot write " + path_ +
                                   ": what is there is not a regular file"));
    EXPECT_EQ(std::filesystem::symlink_status(path_).type(), type);
    EXPECT_EQ(Names().size(), 1U);
    std::filesystem::remove(path_);
  }
}

TEST_F(PortFileTest, NorIsItReplacedIfItComesLater) {
  for (const auto& make : Others()) {
    const auto file = Prepared();
    ASSERT_EQ(make(), 0);
    const auto type = std::filesystem::symlink_status(path_).type();
    EXPECT_THAT(std::string(file->Publish({{"grpc", kGrpc}, {"metrics", kMetrics}}).message()),
                HasSubstr("not a regular file"));
    EXPECT_EQ(std::filesystem::symlink_status(path_).type(), type);
    std::filesystem::remove(path_);
  }
}

TEST_F(PortFileTest, ADraftsNameIsNobodysElse) {
  const auto first = Prepared();
  const auto second = Prepared();  // of the same process, as of one of its number elsewhere
  ASSERT_TRUE(first->Publish({{"grpc", kGrpc}, {"metrics", kMetrics}}).ok());
  EXPECT_THAT(Text(), HasSubstr("grpc_port=50051\n"));
  EXPECT_EQ(Names().size(), 2U);
}

TEST_F(PortFileTest, AnothersFileStaysAtTheEnd) {
  auto first = Prepared();
  ASSERT_TRUE(first->Publish({{"grpc", kGrpc}, {"metrics", kMetrics}}).ok());
  auto second = Prepared();
  ASSERT_TRUE(second->Publish({{"grpc", kMetrics}, {"metrics", kGrpc}}).ok());
  first.reset();
  EXPECT_THAT(Text(), HasSubstr("grpc_port=9090\n"));
  second.reset();
  EXPECT_TRUE(Names().empty());
}

TEST_F(PortFileTest, ADirectoryThatIsNotThereIsRefused) {
  EXPECT_THAT(std::string(PortFile::Prepare("/nowhere/ports").status().message()),
              HasSubstr("--port_file: cannot write /nowhere/ports: No such file"));
}

}  // namespace
}  // namespace recurve
