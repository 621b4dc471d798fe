// SPDX-License-Identifier: Apache-2.0
// Accepting: the bound on connections, and that no failure ends it.
#include "server/net/acceptor.h"

#include <netinet/in.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/scoped_directory.h"
#include "tests/server/sockets.h"

namespace recurve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class AcceptorTest : public testing::Test {
 protected:
  ~AcceptorTest() override {
    acceptor_.reset();
    log_.reset();
    std::fclose(log_file_);
  }

  void Start(uint32_t max_connections, Acceptor::Seams seams = {}) {
    acceptor_ = std::make_unique<Acceptor>(max_connections, log_.get(), std::move(seams));
    const absl::Status started = acceptor_->Start(listener_.get(), [this](int connection) {
      const std::lock_guard lock(mutex_);
      taken_.emplace_back(connection);
      changed_.notify_all();
    });
    ASSERT_TRUE(started.ok()) << started;
  }
  // Waits until so many connections were handed over since the start.
  void WaitForTaken(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return taken_.size() >= count; });
  }
  size_t taken() {
    const std::lock_guard lock(mutex_);
    return taken_.size();
  }
  // Closes the server's end of a connection.
  void Close(size_t index) {
    const std::lock_guard lock(mutex_);
    taken_[index].Reset();
  }
  std::string LogText() {
    log_->Flush();
    std::fseek(log_file_, 0, SEEK_SET);
    std::string text;
    for (int c = 0; (c = std::fgetc(log_file_)) != EOF;) text += static_cast<char>(c);
    return text;
  }

  std::FILE* const log_file_ = std::tmpfile();
  std::unique_ptr<Log> log_ = std::make_unique<Log>(LogFormat::kText, fileno(log_file_));
  ScopedDescriptor listener_ = ListenOn(AF_INET);
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<ScopedDescriptor> taken_;
  std::unique_ptr<Acceptor> acceptor_;
};

TEST_F(AcceptorTest, HandsConnectionsOverWithoutBlocking) {
  Start(8);
  const ScopedDescriptor client = ConnectToListener(listener_.get());
  WaitForTaken(1);
  char byte = 0;
  EXPECT_EQ(read(taken_[0].get(), &byte, 1), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(acceptor_->counts().open, 1U);
}

TEST_F(AcceptorTest, ClosesConnectionsBeyondTheBoundAndTakesNewOnesWhenOthersAreGone) {
  Start(2);
  const ScopedDescriptor first = ConnectToListener(listener_.get());
  const ScopedDescriptor second = ConnectToListener(listener_.get());
  const ScopedDescriptor third = ConnectToListener(listener_.get());
  EXPECT_TRUE(IsClosedByPeer(third.get()));
  WaitForTaken(2);
  EXPECT_EQ(acceptor_->counts().open, 2U);
  EXPECT_EQ(acceptor_->counts().refused_limit, 1U);
  EXPECT_EQ(acceptor_->counts().refused_descriptors, 0U);
  EXPECT_THAT(LogText(), HasSubstr(" connections_refused count=1 reason=max_connections "
                                   "max_connections=2"));
  Close(0);
  EXPECT_EQ(acceptor_->counts().open, 1U);
  const ScopedDescriptor fourth = ConnectToListener(listener_.get());
  WaitForTaken(3);
  EXPECT_EQ(acceptor_->counts().open, 2U);
  EXPECT_EQ(acceptor_->counts().refused_limit, 1U);
}

TEST_F(AcceptorTest, HangingUpEndsConnectionsAfterWhatWasSent) {
  Start(8);
  const ScopedDescriptor client = ConnectToListener(listener_.get());
  const ScopedDescriptor other = ConnectToListener(listener_.get());
  WaitForTaken(2);
  acceptor_->Stop();
  // One descriptor has become another's: that one is left alone.
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const ScopedDescriptor near(pair[0]), far(pair[1]);
  ASSERT_EQ(dup2(near.get(), taken_[1].get()), taken_[1].get());
  ASSERT_EQ(write(taken_[0].get(), "x", 1), 1);
  acceptor_->HangUp();
  char byte = 0;
  EXPECT_EQ(read(client.get(), &byte, 1), 1);
  EXPECT_TRUE(IsClosedByPeer(client.get()));
  EXPECT_EQ(write(near.get(), "x", 1), 1);
}

TEST_F(AcceptorTest, ADescriptorThatBecameSomethingElseIsNoConnection) {
  Start(8);
  const ScopedDescriptor client = ConnectToListener(listener_.get());
  WaitForTaken(1);
  const int descriptor = taken_[0].get();
  for (const char* what : {"a file", "another socket"}) {
    const ScopedDescriptor other(what[0] == 'a' && what[1] == ' '
                                     ? dup(fileno(log_file_))
                                     : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(dup2(other.get(), descriptor), descriptor);
    EXPECT_EQ(acceptor_->counts().open, 0U) << what;
  }
}

TEST_F(AcceptorTest, ExpectedConnectionsAreBeyondEveryBoundAndCountNowhere) {
  Start(1);
  const ScopedDescriptor client = ConnectToListener(listener_.get());
  WaitForTaken(1);
  const ScopedDescriptor own(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  SocketAddress loopback = AddressOf(listener_.get());
  reinterpret_cast<sockaddr_in&>(loopback.storage).sin_port = 0;
  ASSERT_EQ(bind(own.get(), loopback.get(), loopback.size), 0);
  const SocketAddress address = AddressOf(own.get());
  const std::string key = AddressKey(address.storage, address.size);
  EXPECT_FALSE(acceptor_->Forget(key));
  acceptor_->Expect(key);
  ASSERT_TRUE(Connect(own.get(), AddressOf(listener_.get())));
  WaitForTaken(2);
  EXPECT_EQ(acceptor_->counts().open, 1U);
  EXPECT_EQ(acceptor_->counts().refused_limit, 0U);
  EXPECT_TRUE(acceptor_->Forget(key));
  EXPECT_FALSE(acceptor_->Forget(key));
}

TEST_F(AcceptorTest, BothEndsHaveOneKey) {
  const ScopedDirectory directory;
  std::vector<ScopedDescriptor> listeners;
  listeners.push_back(ListenOn(AF_INET));
  listeners.push_back(ListenAt(directory.path() + "/socket"));
  if (ScopedDescriptor v6 = ListenOn(AF_INET6); v6.valid()) listeners.push_back(std::move(v6));
  for (const ScopedDescriptor& listener : listeners) {
    const ScopedDescriptor client(
        socket(AddressOf(listener.get()).storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SocketAddress own = AddressOf(listener.get());
    if (own.storage.ss_family == AF_UNIX) own.size = sizeof(sa_family_t);
    reinterpret_cast<sockaddr_in&>(own.storage).sin_port = 0;  // of sockaddr_in6 too
    ASSERT_EQ(bind(client.get(), own.get(), own.size), 0);
    ASSERT_TRUE(Connect(client.get(), AddressOf(listener.get())));
    SocketAddress peer;
    const ScopedDescriptor connection(
        accept(listener.get(), reinterpret_cast<sockaddr*>(&peer.storage), &peer.size));
    own = AddressOf(client.get());
    EXPECT_EQ(AddressKey(own.storage, own.size), AddressKey(peer.storage, peer.size));
  }
}

TEST_F(AcceptorTest, KeysOfMappedAddressesAreThoseOfIpv4) {
  sockaddr_storage v4{}, v6{};
  auto& four = reinterpret_cast<sockaddr_in&>(v4);
  four.sin_family = AF_INET;
  four.sin_port = htons(7);
  four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto& six = reinterpret_cast<sockaddr_in6&>(v6);
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(7);
  six.sin6_addr.s6_addr[10] = six.sin6_addr.s6_addr[11] = 0xff;
  six.sin6_addr.s6_addr[12] = 127;
  six.sin6_addr.s6_addr[15] = 1;
  EXPECT_EQ(AddressKey(v4, sizeof(four)), AddressKey(v6, sizeof(six)));
  six.sin6_port = htons(8);
  EXPECT_NE(AddressKey(v4, sizeof(four)), AddressKey(v6, sizeof(six)));
}

// The process really has none left: those that come are closed, one of its own is served, and when
// descriptors are free again all is as before.
TEST_F(AcceptorTest, WithoutDescriptorsClosesWhoComesAndServesItself) {
  std::vector<ScopedDescriptor> clients;
  for (int i = 0; i < 5; ++i) {
    clients.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  }
  SocketAddress loopback = AddressOf(listener_.get());
  reinterpret_cast<sockaddr_in&>(loopback.storage).sin_port = 0;
  ASSERT_EQ(bind(clients[2].get(), loopback.get(), loopback.size), 0);
  const SocketAddress own = AddressOf(clients[2].get());
  Start(100);
  acceptor_->Expect(AddressKey(own.storage, own.size));
  const SocketAddress target = AddressOf(listener_.get());
  {
    const NoDescriptors none;
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(Connect(clients[i].get(), target));
      EXPECT_TRUE(IsClosedByPeer(clients[i].get()));
    }
    EXPECT_EQ(taken(), 0U);
    ASSERT_TRUE(Connect(clients[2].get(), target));
    WaitForTaken(1);
    EXPECT_TRUE(acceptor_->Forget(AddressKey(own.storage, own.size)));
    Close(0);
    ASSERT_TRUE(Connect(clients[3].get(), target));
    EXPECT_TRUE(IsClosedByPeer(clients[3].get()));
  }
  EXPECT_EQ(acceptor_->counts().refused_descriptors, 3U);
  EXPECT_EQ(acceptor_->counts().open, 0U);
  ASSERT_TRUE(Connect(clients[4].get(), target));
  WaitForTaken(2);
  EXPECT_EQ(acceptor_->counts().open, 1U);
}

// Fails as told, then as the system does.
struct FailingAccept {
  std::vector<int> errors;  // of one call each
  std::atomic<size_t> calls = 0;
  std::vector<Acceptor::Milliseconds> pauses;  // of the acceptor's thread

  Acceptor::Seams Seams() {
    Acceptor::Seams seams;
    seams.accept = [this](int listener, sockaddr* address, socklen_t* size) {
      const size_t call = calls++;
      if (call < errors.size()) {
        errno = errors[call];
        return -1;
      }
      return accept4(listener, address, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    };
    seams.pause = [this](Acceptor::Milliseconds time) { pauses.push_back(time); };
    return seams;
  }
};

TEST_F(AcceptorTest, OutlivesEveryFailureOfAccept) {
  FailingAccept failing;
  for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, EINTR, EPROTO, ENETDOWN,
                          EHOSTUNREACH, EPERM, EBADF, EINVAL, EOPNOTSUPP, 9999}) {
    failing.errors.push_back(error);
  }
  Start(8, failing.Seams());
  const ScopedDescriptor client = ConnectToListener(listener_.get());
  // The first EMFILE gives up the spare descriptor, ENFILE comes of that; ENOBUFS and ENOMEM alike.
  WaitForTaken(1);
  EXPECT_THAT(LogText(), HasSubstr(" accept_failed error=\"Too many open files in system\""));
  acceptor_->Stop();
  EXPECT_EQ(acceptor_->counts().open, 1U);
}

TEST_F(AcceptorTest, PausesLongerAndLongerWhileNothingHelps) {
  FailingAccept failing;
  // Two tries a round, the second with the spare descriptor; a connection aborted is no round's
  // end.
  failing.errors.assign(2 * 9, EMFILE);
  failing.errors.insert(failing.errors.end(), {ECONNABORTED, ENOTSOCK});
  Start(8, failing.Seams());
  const ScopedDescriptor client = ConnectToListener(listener_.get());
  WaitForTaken(1);
  acceptor_->Stop();
  std::vector<int64_t> pauses;
  for (const auto pause : failing.pauses) pauses.push_back(pause.count());
  EXPECT_THAT(pauses, ElementsAre(10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000));
}

TEST_F(AcceptorTest, StopsAmidAPauseAndWhileConnectionsWait) {
  Acceptor::Seams seams;
  seams.accept = [](int, sockaddr*, socklen_t*) {
    errno = EBADF;
    return -1;
  };
  Start(8, std::move(seams));
  const ScopedDescriptor client = ConnectToListener(listener_.get());
  acceptor_->Stop();
  EXPECT_EQ(taken(), 0U);
  acceptor_->Stop();
}

}  // namespace
}  // namespace recurve
