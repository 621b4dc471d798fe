// SPDX-License-Identifier: Apache-2.0
// HTTP/2 by its bytes, so that the soak may send what no library would, and leave as no library
// does.
#ifndef RECURVE_TESTS_SOAK_RAW_HTTP2_H_
#define RECURVE_TESTS_SOAK_RAW_HTTP2_H_

#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>

#include "engine/base/scoped_descriptor.h"
#include "server/address.h"

namespace recurve::soak {

using Random = std::mt19937_64;

// Below `bound`, which is not 0.
inline uint64_t Below(Random* random, uint64_t bound) { return (*random)() % bound; }

enum FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kRstStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};
inline constexpr uint8_t kEndStream = 1;
inline constexpr uint8_t kEndHeaders = 4;

// What a client says first; `window`: bytes that each stream may bring unasked.
std::string Preface(uint32_t window = 65535);
std::string Frame(FrameType type, uint8_t flags, uint32_t stream, std::string_view payload);
std::string BigEndian(uint64_t value, int bytes);
// One header as HPACK's literal without index.
std::string Literal(std::string_view name, std::string_view value);
// HEADERS and DATA of a call whose request is `message`.
std::string CallFrames(uint32_t stream, std::string_view method, std::string_view message);

// One blocking TCP connection. Errors are no news: the peer may have left first.
class RawConnection {
 public:
  explicit RawConnection(const Address& address);  // IPv4
  bool valid() const { return socket_.valid(); }

  bool Send(std::string_view bytes);
  // Reads what comes within `time`; whether the peer has closed.
  bool ReadFor(std::chrono::milliseconds time);
  // Bytes that came so far.
  uint64_t received() const { return received_; }

  void CloseWithFin() { socket_.Reset(); }
  void CloseWithRst();
  // Gives the socket away, open, for one that reads and says nothing any more.
  ScopedDescriptor Vanish() { return std::move(socket_); }

 private:
  ScopedDescriptor socket_;
  uint64_t received_ = 0;
};

// One conversation that breaks the protocol, or floods its peer with frames that it allows, up to
// its end. `message`: a request that would be served.
void Misbehave(const Address& address, std::string_view message, Random* random);

}  // namespace recurve::soak

#endif  // RECURVE_TESTS_SOAK_RAW_HTTP2_H_
