// SPDX-License-Identifier: Apache-2.0
// The file that tells scripts where a server listens.
#ifndef RECURVE_SERVER_PORT_FILE_H_
#define RECURVE_SERVER_PORT_FILE_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/scoped_descriptor.h"
#include "server/address.h"

namespace recurve {

// Owns the file from Publish on: for each port a line `NAME_address=ADDRESS` and, for those that
// are no unix sockets, `NAME_port=N`. Readers see the whole of it or nothing. Only a regular file
// is ever replaced. Thread-compatible.
class PortFile {
 public:
  // Finds out, before anybody listens, whether the file can be written at `path`, by making a draft
  // beside it, of a name that nothing has. FailedPrecondition names `--port_file`, the path and
  // what is wrong with it.
  static absl::StatusOr<std::unique_ptr<PortFile>> Prepare(const std::string& path);
  // Removes the file if it is still this one, or the draft.
  ~PortFile();

  // Puts the file in its place; once.
  using NamedAddresses = std::vector<std::pair<std::string, Address>>;
  absl::Status Publish(const NamedAddresses& ports);

 private:
  explicit PortFile(std::string path) : path_(std::move(path)) {}
  absl::Status CheckPath() const;
  absl::Status MakeDraft();
  absl::Status Failed(const std::string& why) const;
  bool IsOwn(const std::string& path) const;

  const std::string path_;
  std::string draft_;      // its path; empty once published
  ScopedDescriptor file_;  // open for as long as this lives, so that its inode is no other's
};

}  // namespace recurve

#endif  // RECURVE_SERVER_PORT_FILE_H_
