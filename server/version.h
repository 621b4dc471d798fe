// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_SERVER_VERSION_H_
#define RECURVE_SERVER_VERSION_H_

namespace recurve {

inline constexpr char kVersion[] = RECURVE_VERSION;  // of the project, set by CMake

}  // namespace recurve

#endif  // RECURVE_SERVER_VERSION_H_
