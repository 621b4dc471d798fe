// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_CLIENT_LOAD_CSV_H_
#define RECURVE_CLIENT_LOAD_CSV_H_

#include <nlohmann/json.hpp>
#include <string>

namespace recurve::client {

// A value as it stands between commas, in quotes where it needs them; null is empty.
std::string CsvCell(const nlohmann::ordered_json& value);

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_CSV_H_
