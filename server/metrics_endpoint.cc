// SPDX-License-Identifier: Apache-2.0
#include "server/metrics_endpoint.h"

#include <netdb.h>
#include <prometheus/exposer.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace recurve {

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Create(
    const std::string& address,
    const std::vector<std::shared_ptr<prometheus::Collectable>>& collectables) {
  std::unique_ptr<prometheus::Exposer> exposer;
  try {
    // Who connects and says nothing soon makes way for others, and for our end.
    exposer = std::make_unique<prometheus::Exposer>(std::vector<std::string>{
        "listening_ports", address, "num_threads", "8", "request_timeout_ms", "2000"});
  } catch (const std::exception&) {  // which says no more than that it failed
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on ", address,
        "; expected a free port of a numeric address of this machine, such as 127.0.0.1:9090"));
  }
  for (const auto& collectable : collectables) exposer->RegisterCollectable(collectable);
  return std::unique_ptr<MetricsEndpoint>(new MetricsEndpoint(address, std::move(exposer)));
}

MetricsEndpoint::MetricsEndpoint(const std::string& address,
                                 std::unique_ptr<prometheus::Exposer> exposer)
    : exposer_(std::move(exposer)),
      port_(exposer_->GetListeningPorts().at(0)),
      host_(address.substr(0, address.rfind(':'))) {
  if (host_.size() > 2 && host_.front() == '[') host_ = host_.substr(1, host_.size() - 2);
}

// The web server looks only every two seconds, or when somebody connects, whether it should stop.
MetricsEndpoint::~MetricsEndpoint() {
  std::atomic<bool> stopped = false;
  std::thread stopper([this, &stopped] {
    exposer_.reset();
    stopped = true;
  });
  while (!stopped) {
    Knock();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  stopper.join();
}

// Connects to ourselves and hangs up.
void MetricsEndpoint::Knock() const {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host_.c_str(), std::to_string(port_).c_str(), &hints, &found) != 0) return;
  const int connection = socket(found->ai_family, found->ai_socktype | SOCK_NONBLOCK, 0);
  if (connection >= 0) {
    // It is the attempt that wakes.
    [[maybe_unused]] const int failed = connect(connection, found->ai_addr, found->ai_addrlen);
    close(connection);
  }
  freeaddrinfo(found);
}

}  // namespace recurve
