// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_TESTS_CLIENT_SCOPED_ENVIRONMENT_H_
#define RECURVE_TESTS_CLIENT_SCOPED_ENVIRONMENT_H_

#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace recurve::client {

// Environment variables that are unset while it lives, unless a test sets them, and then again what
// they were.
class ScopedEnvironment {
 public:
  explicit ScopedEnvironment(const std::vector<std::string>& variables) {
    for (const std::string& variable : variables) {
      const char* value = std::getenv(variable.c_str());
      before_[variable] = value == nullptr ? std::nullopt : std::optional<std::string>(value);
      unsetenv(variable.c_str());
    }
  }
  ~ScopedEnvironment() {
    for (const auto& [variable, value] : before_) {
      if (value) {
        Set(variable, *value);
      } else {
        unsetenv(variable.c_str());
      }
    }
  }
  ScopedEnvironment(const ScopedEnvironment&) = delete;
  ScopedEnvironment& operator=(const ScopedEnvironment&) = delete;

  // One of `variables`.
  void Set(const std::string& variable, const std::string& value) const {
    setenv(variable.c_str(), value.c_str(), /*overwrite=*/1);
  }

 private:
  std::map<std::string, std::optional<std::string>> before_;
};

}  // namespace recurve::client

#endif  // RECURVE_TESTS_CLIENT_SCOPED_ENVIRONMENT_H_
