// SPDX-License-Identifier: Apache-2.0
// The signals that ask for a process's end, heard by a thread of their own.
#ifndef RECURVE_SERVER_SIGNALS_H_
#define RECURVE_SERVER_SIGNALS_H_

#include <csignal>
#include <functional>

#include "server/observe/log.h"

namespace recurve {

// The signals that ask for the process's end, blocked, since one thread waits for them instead of
// their interrupting whichever is at hand. SIGINT and SIGHUP are left alone where they are ignored,
// as a shell's & and nohup have it. SIGPIPE is ignored. Must run before any other thread starts,
// since threads inherit the mask.
sigset_t BlockSignals();

// For a thread of its own: does for ever what SignalPolicy says of each of these signals, by
// `drain` or by ending the process.
[[noreturn]] void AwaitSignals(sigset_t signals, const std::function<void()>& drain, Log* log);

}  // namespace recurve

#endif  // RECURVE_SERVER_SIGNALS_H_
