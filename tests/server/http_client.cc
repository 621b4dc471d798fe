// SPDX-License-Identifier: Apache-2.0
#include "tests/server/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace recurve {
namespace {

ScopedDescriptor Connect(int family, const void* address, socklen_t size) {
  ScopedDescriptor descriptor(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(descriptor.get(), static_cast<const sockaddr*>(address), size) != 0) {
    descriptor.Reset();
  }
  return descriptor;
}

ScopedDescriptor Connect(const Address& to) {
  if (to.is_unix()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, to.path.data(), to.path.size());
    return Connect(AF_UNIX, &address, sizeof(address));
  }
  if (to.host.find(':') != std::string::npos) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(to.port);
    inet_pton(AF_INET6, to.host.c_str(), &address.sin6_addr);
    return Connect(AF_INET6, &address, sizeof(address));
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(to.port);
  inet_pton(AF_INET, to.host.c_str(), &address.sin_addr);
  return Connect(AF_INET, &address, sizeof(address));
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

size_t ContentLength(const std::string& sent) {
  const std::string head = Lower(sent);
  const std::string name = "\r\ncontent-length:";
  const size_t at = head.find(name);
  return at == std::string::npos ? 0 : std::strtoul(&head[at + name.size()], nullptr, 10);
}

}  // namespace

HttpClient::HttpClient(const Address& address) : socket_(Connect(address)) {}

void HttpClient::Send(const std::string& bytes) {
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = send(socket_.get(), &bytes[sent], bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return;  // the server has closed, which Read tells
    sent += static_cast<size_t>(n);
  }
}

void HttpClient::EndSending() { shutdown(socket_.get(), SHUT_WR); }

HttpAnswer HttpClient::Read(bool to_head) {
  HttpAnswer answer;
  size_t end = 0;
  while ((end = received_.find("\r\n\r\n")) == std::string::npos) {
    if (!Receive()) return answer;
  }
  answer.head = received_.substr(0, end + 2);
  const bool in_pieces =
      Lower(answer.head).find("\r\ntransfer-encoding: chunked\r\n") != std::string::npos;
  if (in_pieces) {
    received_.erase(0, end + 4);
    for (std::string piece = ReadPiece(); !piece.empty(); piece = ReadPiece()) answer.body += piece;
  } else {
    const size_t length = to_head ? 0 : ContentLength(answer.head);
    while (received_.size() < end + 4 + length) {
      if (!Receive()) return answer;
    }
    answer.body = received_.substr(end + 4, length);
    received_.erase(0, end + 4 + length);
  }
  const size_t status = std::min(answer.head.size(), answer.head.find(' '));
  answer.status = static_cast<int>(std::strtol(&answer.head[status], nullptr, 10));
  return answer;
}

std::string HttpClient::ReadHead() {
  size_t end = 0;
  while ((end = received_.find("\r\n\r\n")) == std::string::npos) {
    if (!Receive()) return "";
  }
  const std::string head = received_.substr(0, end + 2);
  received_.erase(0, end + 4);
  return head;
}

std::string HttpClient::ReadPiece() {
  size_t end = 0;
  while ((end = received_.find("\r\n")) == std::string::npos) {
    if (!Receive()) return "";
  }
  const size_t size = std::strtoul(received_.c_str(), nullptr, 16);
  while (received_.size() < end + size + 4) {
    if (!Receive()) return "";
  }
  std::string piece = received_.substr(end + 2, size);
  received_.erase(0, end + size + 4);
  return piece;
}

HttpAnswer HttpClient::Get(const std::string& path) {
  Send("GET " + path + " HTTP/1.1\r\nHost: test\r\n\r\n");
  return Read();
}

bool HttpClient::IsSilent() const {
  char byte = 0;
  return received_.empty() && recv(socket_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 &&
         errno == EAGAIN;
}

bool HttpClient::WaitUntilClosed(bool discard) {
  if (!discard) return received_.empty() && !Receive();
  while (Receive()) {
  }
  return true;
}

bool HttpClient::Receive() {
  std::array<char, 65536> buffer;
  const ssize_t n = recv(socket_.get(), buffer.data(), buffer.size(), 0);
  if (n <= 0) return false;
  received_.append(buffer.data(), static_cast<size_t>(n));
  return true;
}

HttpAnswer HttpGet(const Address& address, const std::string& path) {
  return HttpClient(address).Get(path);
}

}  // namespace recurve
