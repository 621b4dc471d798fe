// SPDX-License-Identifier: Apache-2.0
// An HTTP server that says what a test wants.
#ifndef RECURVE_TESTS_CLIENT_LOAD_FAKE_HTTP_SERVER_H_
#define RECURVE_TESTS_CLIENT_LOAD_FAKE_HTTP_SERVER_H_

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <functional>
#include <string>
#include <thread>

namespace recurve::client {

// One connection at a time; each request's answer is what `answer` says of the request's head and
// body. An answer with "Connection: close" is the connection's last one, and so is one that is
// empty.
class FakeHttpServer {
 public:
  // `tls`: what connections speak TLS with; null: plaintext.
  explicit FakeHttpServer(std::function<std::string(const std::string&)> answer,
                          boost::asio::ssl::context* tls = nullptr,
                          const std::string& address = "127.0.0.1");
  ~FakeHttpServer();

  std::string url() const;  // https where it speaks TLS
  int port() const;
  int connections() const { return connections_; }

 private:
  void Serve();
  // As long as they come.
  template <typename Stream>
  void ServeRequests(Stream& stream);

  const std::function<std::string(const std::string&)> answer_;
  boost::asio::ssl::context* const tls_;
  boost::asio::io_context context_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::atomic<bool> ending_ = false;
  std::atomic<int> connections_ = 0;
  std::thread thread_;
};

}  // namespace recurve::client

#endif  // RECURVE_TESTS_CLIENT_LOAD_FAKE_HTTP_SERVER_H_
