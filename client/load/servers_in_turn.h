// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_SERVERS_IN_TURN_H_
#define RECURVE_CLIENT_LOAD_SERVERS_IN_TURN_H_

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/client.h"

namespace recurve::client {

// Servers that take a call each in turn, whatever became of those before. Thread-safe once all are
// added. `Connection`: what calls of a server are made with.
template <typename Connection>
class ServersInTurn {
 public:
  void Add(const std::string& name, std::unique_ptr<Connection> connection) {
    servers_.push_back({name, std::move(connection)});
  }

  Connection& first() const { return *servers_.front().connection; }

  // The next one, of which the call's report is told.
  Connection& Take(const CallOptions& call) {
    const Server& server = servers_[next_++ % servers_.size()];
    if (call.report != nullptr) {
      ++call.report->tries;
      call.report->last_server = server.name;
    }
    return *server.connection;
  }

 private:
  struct Server {
    std::string name;
    std::unique_ptr<Connection> connection;
  };

  std::vector<Server> servers_;
  std::atomic<size_t> next_ = 0;
};

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_SERVERS_IN_TURN_H_
