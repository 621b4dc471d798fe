// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_SERVER_GRPC_LIBRARY_LOG_H_
#define RECURVE_SERVER_GRPC_LIBRARY_LOG_H_

#include "server/observe/log.h"

namespace recurve {

// While it lives, what gRPC and protobuf write to stderr by themselves goes into `log` instead, as
// events `library`, and so does what an exception that nobody caught, or a broken invariant of our
// own, has to say before the process aborts. Clients cause many such lines, with messages that are
// none: each library has a LineLimit of its own, and the next line that is written says how many
// were not (`suppressed`); at the end an event `library_suppressed` says so. Lines of fatal errors
// are always written. One at a time.
class LibraryLog {
 public:
  explicit LibraryLog(Log* log);  // which must outlive this
  ~LibraryLog();
  LibraryLog(const LibraryLog&) = delete;
  LibraryLog& operator=(const LibraryLog&) = delete;
};

}  // namespace recurve

#endif  // RECURVE_SERVER_GRPC_LIBRARY_LOG_H_
