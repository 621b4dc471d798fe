// SPDX-License-Identifier: Apache-2.0
#include "server/access/tls_tunnel.h"

#include <openssl/pem.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/access/openssl_types.h"

namespace recurve {
namespace {

using std::chrono::steady_clock;

constexpr size_t kMostHeld = 64 << 10;  // bytes of one direction that wait for a reader

absl::Status Failed(const std::string& what) {
  return absl::UnavailableError(absl::StrCat("TLS with the own port: ", what));
}

absl::Status FailedRead(ssize_t size, const char* from) {
  return Failed(size == 0 ? absl::StrCat(from, " has closed the connection")
                          : absl::StrCat(from, ": ", std::strerror(errno)));
}

bool WouldBlock() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

// Sends the beginning of `text`, as much as goes, and takes it off.
absl::Status SendSome(int socket, std::string* text) {
  while (!text->empty()) {
    const ssize_t sent = send(socket, text->data(), text->size(), MSG_NOSIGNAL);
    if (sent < 0 && WouldBlock()) return absl::OkStatus();
    if (sent <= 0) return FailedRead(sent, "the peer");
    text->erase(0, static_cast<size_t>(sent));
  }
  return absl::OkStatus();
}

// The handshake and the bytes, between memory alone.
class Tunnel {
 public:
  Tunnel(int network, int plain) : network_(network), plain_(plain) {}

  absl::Status Begin(const CertificateAndKey& own) {
    context_.reset(SSL_CTX_new(TLS_client_method()));
    const BioPointer certificate_text = ReadFrom(own.certificate), key_text = ReadFrom(own.key);
    const CertificatePointer certificate(
        PEM_read_bio_X509(certificate_text.get(), nullptr, nullptr, nullptr));
    const KeyPointer key(PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr));
    constexpr std::array<unsigned char, 3> kHttp2 = {2, 'h', '2'};
    if (!context_ || SSL_CTX_use_certificate(context_.get(), certificate.get()) != 1 ||
        SSL_CTX_use_PrivateKey(context_.get(), key.get()) != 1 ||
        SSL_CTX_set_alpn_protos(context_.get(), kHttp2.data(), kHttp2.size()) != 0) {
      return Failed(OpenSslError());
    }
    ssl_.reset(SSL_new(context_.get()));
    from_network_ = BIO_new(BIO_s_mem());
    to_network_ = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl_.get(), from_network_, to_network_);  // which owns them
    SSL_set_connect_state(ssl_.get());
    return absl::OkStatus();
  }

  // Everything that can be done without waiting.
  absl::Status Work() {
    ERR_clear_error();
    RETURN_IF_ERROR(ReceiveFromNetwork());
    if (!SSL_is_init_finished(ssl_.get())) RETURN_IF_ERROR(Check(SSL_do_handshake(ssl_.get())));
    if (SSL_is_init_finished(ssl_.get())) {
      RETURN_IF_ERROR(Decrypt());
      RETURN_IF_ERROR(EncryptFromPlain());
    }
    char* data = nullptr;
    const long size = BIO_get_mem_data(to_network_, &data);
    if (size > 0) out_.append(data, static_cast<size_t>(size));
    (void)BIO_reset(to_network_);
    RETURN_IF_ERROR(SendSome(network_, &out_));
    return SendSome(plain_, &in_);
  }

  // What Work waits for.
  short network_events() const {
    return static_cast<short>((in_.size() < kMostHeld ? POLLIN : 0) | (out_.empty() ? 0 : POLLOUT));
  }
  short plain_events() const {
    const bool reads = SSL_is_init_finished(ssl_.get()) && out_.size() < kMostHeld;
    return static_cast<short>((reads ? POLLIN : 0) | (in_.empty() ? 0 : POLLOUT));
  }

 private:
  absl::Status Check(int result) {
    if (result > 0) return absl::OkStatus();
    const int error = SSL_get_error(ssl_.get(), result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return absl::OkStatus();
    return Failed(error == SSL_ERROR_ZERO_RETURN ? "the server has ended it" : OpenSslError());
  }

  absl::Status ReceiveFromNetwork() {
    std::array<char, 16384> buffer;
    while (in_.size() < kMostHeld) {
      const ssize_t size = recv(network_, buffer.data(), buffer.size(), 0);
      if (size < 0 && WouldBlock()) return absl::OkStatus();
      if (size <= 0) return FailedRead(size, "the server");
      BIO_write(from_network_, buffer.data(), static_cast<int>(size));
      if (!SSL_is_init_finished(ssl_.get())) return absl::OkStatus();
      RETURN_IF_ERROR(Decrypt());
    }
    return absl::OkStatus();
  }

  absl::Status Decrypt() {
    std::array<char, 16384> buffer;
    int size = 0;
    while ((size = SSL_read(ssl_.get(), buffer.data(), static_cast<int>(buffer.size()))) > 0) {
      in_.append(buffer.data(), static_cast<size_t>(size));
    }
    return Check(size);
  }

  absl::Status EncryptFromPlain() {
    std::array<char, 16384> buffer;
    while (out_.size() < kMostHeld) {
      const ssize_t size = recv(plain_, buffer.data(), buffer.size(), 0);
      if (size < 0 && WouldBlock()) return absl::OkStatus();
      if (size <= 0) return FailedRead(size, "the caller");
      RETURN_IF_ERROR(Check(SSL_write(ssl_.get(), buffer.data(), static_cast<int>(size))));
      char* data = nullptr;
      const long encrypted = BIO_get_mem_data(to_network_, &data);
      out_.append(data, static_cast<size_t>(std::max(encrypted, 0L)));
      (void)BIO_reset(to_network_);
    }
    return absl::OkStatus();
  }

  const int network_, plain_;
  ContextPointer context_;
  SslPointer ssl_;
  BIO* from_network_ = nullptr;  // of ssl_
  BIO* to_network_ = nullptr;
  std::string out_;  // encrypted, for the network
  std::string in_;   // decrypted, for the caller
};

}  // namespace

absl::Status CarryTls(int network, int plain, int stop, const CertificateAndKey& own,
                      SteadyTime until) {
  Tunnel tunnel(network, plain);
  RETURN_IF_ERROR(tunnel.Begin(own));
  while (true) {
    RETURN_IF_ERROR(tunnel.Work());
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - steady_clock::now()).count();
    if (left <= 0) return absl::DeadlineExceededError("TLS with the own port: no answer in time");
    pollfd waiting[] = {{network, tunnel.network_events(), 0},
                        {plain, tunnel.plain_events(), 0},
                        {stop, POLLIN, 0}};
    constexpr int64_t kLongest = 60'000;
    if (poll(waiting, 3, static_cast<int>(std::min<int64_t>(left, kLongest))) < 0 &&
        errno != EINTR) {
      return Failed(std::strerror(errno));
    }
    if (waiting[2].revents != 0) return absl::OkStatus();
  }
}

}  // namespace recurve
