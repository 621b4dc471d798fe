// SPDX-License-Identifier: Apache-2.0
#include "server/net/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Address At(const std::string& text) {
  const auto address = ParseAddress(text);
  EXPECT_TRUE(address.ok()) << address.status();
  return address.value_or(Address());
}

std::unique_ptr<Listener> Bound(const Address& address) {
  auto listener = Listener::Bind(address);
  EXPECT_TRUE(listener.ok()) << listener.status();
  return listener.ok() ? *std::move(listener) : nullptr;
}

std::unique_ptr<Listener> Listening(const Address& address) {
  auto listener = Bound(address);
  if (listener != nullptr) {
    const absl::Status listening = listener->Listen();
    EXPECT_TRUE(listening.ok()) << listening;
  }
  return listener;
}

std::string BindError(const Address& address) {
  return std::string(Listener::Bind(address).status().message());
}

// Whether a client of this family finds a listener at this machine's `port`.
bool CanConnect(int family, uint16_t port) {
  const ScopedDescriptor client(socket(family, SOCK_STREAM, 0));
  if (family == AF_INET) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  address.sin6_addr = in6addr_loopback;
  return connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
}

ScopedDescriptor UnixSocket(const std::string& path, int (*use)(int, const sockaddr*, socklen_t)) {
  ScopedDescriptor socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  if (use(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
    return socket;
  }
  return ScopedDescriptor();
}
bool CanConnect(const std::string& path) { return UnixSocket(path, &connect).get() >= 0; }

bool HasIpv6() {
  const ScopedDescriptor socket(::socket(AF_INET6, SOCK_STREAM, 0));
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  return bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
}

TEST(TcpListenerTest, AddressIsTheOneItGot) {
  const auto listener = Listening(At("127.0.0.1:0"));
  EXPECT_EQ(listener->address().host, "127.0.0.1");
  EXPECT_NE(listener->address().port, 0);
  EXPECT_TRUE(CanConnect(AF_INET, listener->address().port));
  EXPECT_NE(fcntl(listener->fd(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(fcntl(listener->fd(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(TcpListenerTest, NobodyConnectsBeforeItListensNorAfterIt) {
  auto listener = Bound(At("127.0.0.1:0"));
  const uint16_t port = listener->address().port;
  EXPECT_FALSE(CanConnect(AF_INET, port));
  ASSERT_TRUE(listener->Listen().ok());
  EXPECT_TRUE(CanConnect(AF_INET, port));
  listener.reset();
  EXPECT_FALSE(CanConnect(AF_INET, port));
}

TEST(TcpListenerTest, NamesStandForTheirAddress) {
  const auto listener = Listening(At("localhost:0"));
  EXPECT_EQ(listener->address().host, "127.0.0.1");
  EXPECT_THAT(BindError(At("a..b:1")),
              HasSubstr("cannot listen on a..b:1: its host cannot be resolved: "));
}

TEST(TcpListenerTest, TheAddressOfNobodyAndOfAnotherAreRefused) {
  EXPECT_THAT(BindError(At("192.0.2.1:1")), HasSubstr("cannot listen on 192.0.2.1:1: "));
  const auto first = Listening(At("127.0.0.1:0"));
  EXPECT_THAT(BindError(first->address()),
              HasSubstr(first->address().ToString() + ": Address already in use"));
}

TEST(TcpListenerTest, APortCanBeHadAgainAtOnce) {
  auto listener = Listening(At("127.0.0.1:0"));
  const Address address = listener->address();
  {
    ASSERT_TRUE(CanConnect(AF_INET, address.port));
    // Closed by the server first, so that the connection lingers here.
    const ScopedDescriptor accepted(accept(listener->fd(), nullptr, nullptr));
    ASSERT_GE(accepted.get(), 0);
  }
  listener.reset();
  EXPECT_EQ(Listening(address)->address(), address);
}

TEST(TcpListenerTest, EveryAddressOfIpv6TakesIpv4AsWell) {
  if (!HasIpv6()) GTEST_SKIP() << "this machine has no IPv6";
  const auto all = Listening(At("[::]:0"));
  EXPECT_TRUE(CanConnect(AF_INET6, all->address().port));
  EXPECT_TRUE(CanConnect(AF_INET, all->address().port));
  const auto ipv6 = Listening(At("[::1]:0"));
  EXPECT_EQ(ipv6->address().host, "::1");
  EXPECT_TRUE(CanConnect(AF_INET6, ipv6->address().port));
  EXPECT_FALSE(CanConnect(AF_INET, ipv6->address().port));
  const auto ipv4 = Listening(At("0.0.0.0:0"));
  EXPECT_TRUE(CanConnect(AF_INET, ipv4->address().port));
  EXPECT_FALSE(CanConnect(AF_INET6, ipv4->address().port));
}

class UnixListenerTest : public testing::Test {
 protected:
  const ScopedDirectory directory_;
  const std::string path_ = directory_.path() + "/socket";
  const Address address_ = At("unix:" + path_);
};

TEST_F(UnixListenerTest, PathIsThereWhileItListens) {
  auto listener = Bound(address_);
  EXPECT_FALSE(std::filesystem::exists(path_));
  ASSERT_TRUE(listener->Listen().ok());
  EXPECT_EQ(listener->address(), address_);
  EXPECT_TRUE(CanConnect(path_));
  EXPECT_NE(fcntl(listener->fd(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(fcntl(listener->fd(), F_GETFD) & FD_CLOEXEC, 0);
  listener.reset();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(UnixListenerTest, ASecondOneDoesNotStealThePath) {
  auto late = Bound(address_);  // while nobody listens there
  const auto first = Listening(address_);
  EXPECT_THAT(BindError(address_),
              HasSubstr("cannot listen on unix:" + path_ + ": another process listens there"));
  EXPECT_THAT(std::string(late->Listen().message()), HasSubstr("another process listens there"));
  late.reset();
  EXPECT_TRUE(CanConnect(path_));
}

TEST_F(UnixListenerTest, AFullQueueIsStillAnothersListener) {
  const ScopedDescriptor other = UnixSocket(path_, &bind);
  ASSERT_EQ(listen(other.get(), 0), 0);
  ASSERT_TRUE(CanConnect(path_));  // and waits to be accepted, as the only one that may
  EXPECT_THAT(BindError(address_), HasSubstr("another process listens there"));
}

TEST_F(UnixListenerTest, WhatACrashLeftIsReplaced) {
  UnixSocket(path_, &bind);  // and is closed
  ASSERT_TRUE(std::filesystem::exists(path_));
  const auto listener = Listening(address_);
  EXPECT_TRUE(CanConnect(path_));
}

TEST_F(UnixListenerTest, WhatIsNoSocketIsLeftAlone) {
  directory_.Write("socket", "text");
  EXPECT_THAT(BindError(address_), HasSubstr("what is there is not a socket"));
  EXPECT_EQ(std::filesystem::file_size(path_), 4U);
  std::filesystem::remove(path_);
  auto late = Bound(address_);
  for (const std::function<int()>& make : std::vector<std::function<int()>>{
           [&] { return mkdir(path_.c_str(), 0700); }, [&] { return mkfifo(path_.c_str(), 0600); },
           [&] { return symlink((path_ + "2").c_str(), path_.c_str()); }}) {
    ASSERT_EQ(make(), 0);
    EXPECT_THAT(BindError(address_), HasSubstr("what is there is not a socket"));
    EXPECT_THAT(std::string(late->Listen().message()), HasSubstr("what is there is not a socket"));
    std::filesystem::remove(path_);
  }
}

TEST_F(UnixListenerTest, ASocketOfDatagramsIsLeftAlone) {
  const ScopedDescriptor other(socket(AF_UNIX, SOCK_DGRAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(bind(other.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_THAT(BindError(address_), HasSubstr("cannot be found out"));
}

TEST_F(UnixListenerTest, ADirectoryThatIsNotThereIsNamed) {
  EXPECT_THAT(BindError(At("unix:/nowhere/at/all")),
              AllOf(HasSubstr("cannot listen on unix:/nowhere/at/all: "),
                    HasSubstr("the directory /nowhere/at cannot be written to: ")));
}

TEST_F(UnixListenerTest, AnothersPathStaysAtTheEnd) {
  auto listener = Listening(address_);
  std::filesystem::remove(path_);
  const auto other = Listening(address_);
  listener.reset();
  EXPECT_TRUE(CanConnect(path_));
}

}  // namespace
}  // namespace recurve
