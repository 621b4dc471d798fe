// SPDX-License-Identifier: Apache-2.0
#include "tools/gpu_check/report.h"

#include <cstdio>

namespace recurve::gpu_check {
namespace {

std::string Plain(std::string text) {
  for (char& c : text) {
    if (c == '"' || c == '\\') c = '\'';
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  return text;
}

}  // namespace

void Report(const std::string& stage, const std::string& name, const std::vector<Field>& fields) {
  std::printf("{\"stage\": \"%s\", \"name\": \"%s\"", stage.c_str(), name.c_str());
  for (const auto& [key, value] : fields) {
    if (const auto* number = std::get_if<double>(&value)) {
      std::printf(", \"%s\": %.6g", key.c_str(), *number);
    } else {
      std::printf(", \"%s\": \"%s\"", key.c_str(), Plain(std::get<std::string>(value)).c_str());
    }
  }
  std::printf("}\n");
  std::fflush(stdout);
}

}  // namespace recurve::gpu_check
