// SPDX-License-Identifier: Apache-2.0
#include "tests/client/load/fake_http_server.h"

#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "absl/strings/str_cat.h"

namespace recurve::client {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

// Head and body; empty if no whole one came.
template <typename Stream>
std::string ReadRequest(Stream& stream) {
  std::string request;
  boost::system::error_code error;
  const size_t head = asio::read_until(stream, asio::dynamic_buffer(request), "\r\n\r\n", error);
  size_t length = 0;
  if (const size_t at = request.find("Content-Length: "); at < head) {
    length = std::stoul(request.substr(at + 16));
  }
  while (!error && request.size() < head + length) {
    char more[4096];
    request.append(more, stream.read_some(asio::buffer(more), error));
  }
  return error ? "" : request;
}

}  // namespace

FakeHttpServer::FakeHttpServer(std::function<std::string(const std::string&)> answer,
                               asio::ssl::context* tls, const std::string& address)
    : answer_(std::move(answer)),
      tls_(tls),
      acceptor_(context_, tcp::endpoint(asio::ip::make_address(address), 0)),
      thread_([this] { Serve(); }) {}

FakeHttpServer::~FakeHttpServer() {
  ending_ = true;
  tcp::socket last(context_);
  last.connect(acceptor_.local_endpoint());
  thread_.join();
}

int FakeHttpServer::port() const { return acceptor_.local_endpoint().port(); }

std::string FakeHttpServer::url() const {
  const auto address = acceptor_.local_endpoint().address();
  return absl::StrCat(tls_ == nullptr ? "http://" : "https://", address.is_v6() ? "[" : "",
                      address.to_string(), address.is_v6() ? "]:" : ":", port());
}

void FakeHttpServer::Serve() {
  while (true) {
    tcp::socket socket(context_);
    acceptor_.accept(socket);
    if (ending_) return;
    ++connections_;
    if (tls_ == nullptr) {
      ServeRequests(socket);
      continue;
    }
    asio::ssl::stream<tcp::socket&> stream(socket, *tls_);
    boost::system::error_code error;
    stream.handshake(asio::ssl::stream_base::server, error);
    if (!error) ServeRequests(stream);
  }
}

template <typename Stream>
void FakeHttpServer::ServeRequests(Stream& stream) {
  boost::system::error_code error;
  std::string answer;
  do {
    const std::string request = ReadRequest(stream);
    answer = request.empty() ? "" : answer_(request);
    asio::write(stream, asio::buffer(answer), error);
  } while (!error && !answer.empty() && answer.find("Connection: close") == std::string::npos);
}

}  // namespace recurve::client
