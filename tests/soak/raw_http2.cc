// SPDX-License-Identifier: Apache-2.0
#include "tests/soak/raw_http2.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace recurve::soak {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::string_view kMagic = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr char kPath[] = "/recurve.v1.GenerationService/";

std::string Garbage(Random* random, size_t most) {
  std::string bytes(1 + Below(random, most), '\0');
  for (char& byte : bytes) byte = static_cast<char>((*random)());
  return bytes;
}

std::string Times(uint64_t times, const std::string& bytes) {
  std::string all;
  for (uint64_t i = 0; i < times; ++i) all += bytes;
  return all;
}

// Calls that are reset as soon as they are made.
std::string RapidReset(uint64_t calls, std::string_view message) {
  std::string all = Preface();
  for (uint32_t i = 0; i < calls; ++i) {
    all += CallFrames(2 * i + 1, "Generate", message);
    all += Frame(kRstStream, 0, 2 * i + 1, BigEndian(8, 4));
  }
  return all;
}

// A head that never ends.
std::string HeaderFlood(Random* random) {
  std::string all =
      Preface() + Frame(kHeaders, 0, 1, Literal(":method", "POST") + Literal("a", "b"));
  const std::string block = Literal(absl::StrCat("x-", Below(random, 1000)), std::string(120, 'v'));
  return all + Times(20 + Below(random, 200), Frame(kContinuation, 0, 1, Times(20, block)));
}

// A call whose bytes lie about the message's length.
std::string WrongLength(std::string_view message, Random* random) {
  std::string frames = CallFrames(1, "Generate", message);
  const size_t data = frames.size() - message.size() - 5;  // the message's own head
  frames[data] = static_cast<char>(Below(random, 3));      // compressed, or as nothing is
  frames.replace(data + 1, 4, BigEndian((*random)(), 4));
  return Preface() + frames;
}

using Words = std::function<std::string(std::string_view message, Random* random)>;

const std::vector<Words>& AllWords() {
  static const auto* const words = new std::vector<Words>{
      [](std::string_view, Random* r) { return Garbage(r, 2000); },
      [](std::string_view, Random* r) {
        return std::string(kMagic.substr(0, 1 + Below(r, kMagic.size() - 1))) + Garbage(r, 20);
      },
      [](std::string_view, Random* r) { return Preface() + Garbage(r, 2000); },
      [](std::string_view, Random* r) {  // a frame of 16 MB, or the beginning of it
        return Preface() + BigEndian(0xFFFFFF, 3) + Garbage(r, 3000);
      },
      [](std::string_view, Random* r) {
        return Preface() + Frame(kHeaders, kEndHeaders, 1, Garbage(r, 300));
      },
      [](std::string_view, Random* r) { return HeaderFlood(r); },
      [](std::string_view, Random* r) {
        return Preface() + Times(50 + Below(r, 2000), Frame(kSettings, 0, 0, ""));
      },
      [](std::string_view, Random* r) {
        return Preface() + Times(50 + Below(r, 2000), Frame(kPing, 0, 0, "12345678"));
      },
      [](std::string_view message, Random* r) { return RapidReset(10 + Below(r, 100), message); },
      [](std::string_view, Random* r) {  // on a stream of its own choice, of any type
        return Preface() + Frame(static_cast<FrameType>(Below(r, 12)), static_cast<uint8_t>((*r)()),
                                 static_cast<uint32_t>(Below(r, 4)), Garbage(r, 20));
      },
      [](std::string_view message, Random* r) { return WrongLength(message, r); },
      [](std::string_view, Random*) { return std::string("GET / HTTP/1.1\r\nHost: x\r\n\r\n"); },
      [](std::string_view message, Random*) {  // no path, and a name in capitals
        return Preface() +
               Frame(kHeaders, kEndHeaders, 1, Literal(":method", "POST") + Literal("TE", "x")) +
               Frame(kData, kEndStream, 1, message);
      },
      [](std::string_view message, Random*) {  // more window than there can be
        return Preface() + CallFrames(1, "Generate", message) +
               Times(3, Frame(kWindowUpdate, 0, 1, BigEndian(0x7FFFFFFF, 4)));
      },
      [](std::string_view message, Random* r) {  // a head with more than a server takes
        return Preface() +
               Frame(kHeaders, kEndHeaders, 1,
                     Literal(":method", "POST") +
                         Times(1 + Below(r, 100), Literal("x-y", std::string(100, 'z')))) +
               CallFrames(3, "Complete", message);
      }};
  return *words;
}

}  // namespace

std::string BigEndian(uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> (8 * i));
  return text;
}

std::string Frame(FrameType type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string frame = BigEndian(payload.size(), 3);
  frame += static_cast<char>(type);
  frame += static_cast<char>(flags);
  frame += BigEndian(stream, 4);
  return frame.append(payload);
}

std::string Preface(uint32_t window) {
  constexpr uint16_t kInitialWindowSize = 4;
  return std::string(kMagic) +
         Frame(kSettings, 0, 0, BigEndian(kInitialWindowSize, 2) + BigEndian(window, 4));
}

std::string Literal(std::string_view name, std::string_view value) {
  std::string header(1, '\0');
  header += static_cast<char>(name.size());  // of less than 127 bytes each
  header.append(name);
  header += static_cast<char>(value.size());
  return header.append(value);
}

std::string CallFrames(uint32_t stream, std::string_view method, std::string_view message) {
  const std::string head = Literal(":method", "POST") + Literal(":scheme", "http") +
                           Literal(":authority", "soak") +
                           Literal(":path", kPath + std::string(method)) +
                           Literal("content-type", "application/grpc") + Literal("te", "trailers");
  std::string body(1, '\0');
  body += BigEndian(message.size(), 4);
  body.append(message);
  return Frame(kHeaders, kEndHeaders, stream, head) + Frame(kData, kEndStream, stream, body);
}

RawConnection::RawConnection(const Address& address)
    : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(address.port);
  inet_pton(AF_INET, address.host.c_str(), &to.sin_addr);
  if (connect(socket_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)) != 0) {
    socket_.Reset();
  }
  const timeval patience{.tv_sec = 2, .tv_usec = 0};  // with a server that does not read
  setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

bool RawConnection::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool RawConnection::ReadFor(milliseconds time) {
  const auto until = steady_clock::now() + time;
  std::array<char, 16384> buffer;
  while (true) {
    const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now());
    pollfd waiting{socket_.get(), POLLIN, 0};
    if (poll(&waiting, 1, static_cast<int>(std::max<int64_t>(left.count(), 0))) <= 0) return false;
    const ssize_t got = recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (got <= 0) return true;
    received_ += static_cast<uint64_t>(got);
  }
}

void RawConnection::CloseWithRst() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  socket_.Reset();
}

void Misbehave(const Address& address, std::string_view message, Random* random) {
  RawConnection connection(address);
  if (!connection.valid()) return;
  const std::vector<Words>& words = AllWords();
  connection.Send(words[Below(random, words.size())](message, random));
  switch (Below(random, 3)) {
    case 0:
      return connection.CloseWithRst();
    case 1:
      return connection.CloseWithFin();
    default:
      connection.ReadFor(milliseconds(20));  // an answer, or the end
  }
}

}  // namespace recurve::soak
