// SPDX-License-Identifier: Apache-2.0
// A client of HTTP by its bytes, so that tests may send what no library would.
#ifndef RECURVE_TESTS_SERVER_HTTP_CLIENT_H_
#define RECURVE_TESTS_SERVER_HTTP_CLIENT_H_

#include <optional>
#include <string>

#include "engine/base/scoped_descriptor.h"
#include "server/address.h"

namespace recurve {

struct HttpAnswer {
  int status = 0;  // 0: none came before the connection ended
  std::string head;
  std::string body;
};

// One connection, of blocking calls.
class HttpClient {
 public:
  // Connects; `connected` says whether it did. The host is numeric.
  explicit HttpClient(const Address& address);
  bool connected() const { return socket_.valid(); }

  void Send(const std::string& bytes);
  // Says that nothing more will be sent.
  void EndSending();
  // The next answer. `to_head`: to a HEAD request, so that no body follows.
  HttpAnswer Read(bool to_head = false);
  // The head of one that comes in pieces, and each of them; empty at the end, also a broken one.
  std::string ReadHead();
  std::string ReadPiece();
  HttpAnswer Get(const std::string& path);

  // Nothing has come and the server has not closed; does not wait.
  bool IsSilent() const;
  // Waits for the server to close; false if bytes came instead, unless they are to be discarded.
  bool WaitUntilClosed(bool discard = false);

 private:
  bool Receive();

  ScopedDescriptor socket_;
  std::string received_;
};

// GET of `path` over a connection of its own.
HttpAnswer HttpGet(const Address& address, const std::string& path);

}  // namespace recurve

#endif  // RECURVE_TESTS_SERVER_HTTP_CLIENT_H_
