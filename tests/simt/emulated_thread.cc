// SPDX-License-Identifier: Apache-2.0
#include "tests/simt/emulated_thread.h"

#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/backend/cuda/simt.h"

namespace recurve {

void EmulatedThread::Begin() {
  if (state_ != State::kReturned) fiber_.Restart();  // it was left in the middle of its kernel
  state_ = State::kReady;
  may_touch_ = !block_->shape.programmatic;
  has_waited_ = false;
  bytes_read_ = 0;
  bytes_written_ = 0;
}

void EmulatedThread::Run() {
  running_ = this;
  fiber_.Resume();
  running_ = nullptr;
}

void EmulatedThread::Main(void* thread) {
  auto& self = *static_cast<EmulatedThread*>(thread);
  const Runtime::Kernel& kernel = self.block_->kernel;
  kernel.call(kernel.function, self.block_->args);
  if (!self.may_touch_) {
    self.Report("returns without GridWait(), though the kernel was launched programmatic");
    self.Stop();
  }
  self.state_ = State::kReturned;
}

void EmulatedThread::GridWait(const std::source_location& where) {
  if (has_waited_) {
    Report(absl::StrCat("calls GridWait() a second time, at ", NameOf(where)));
    Stop();
  }
  has_waited_ = true;
  may_touch_ = true;
}

uint32_t EmulatedThread::Ballot(bool condition, const std::source_location& where) {
  given_ = condition ? 1 : 0;
  Meet(Meeting::kBallot, where);
  return static_cast<uint32_t>(received_);
}

uint64_t EmulatedThread::ShuffleXor(uint64_t bits, uint32_t mask,
                                    const std::source_location& where) {
  const uint32_t lane = index_ % simt::kWarp;
  const uint32_t other = lane ^ mask;
  if (other >= simt::kWarp || index_ - lane + other >= block_->shape.threads) {
    Report(absl::StrCat("asks for the value of lane ", other, ", which its warp does not have, in ",
                        NameOf(Meeting::kShuffleXor, where)));
    Stop();
  }
  given_ = bits;
  mask_ = mask;
  Meet(Meeting::kShuffleXor, where);
  return received_;
}

void EmulatedThread::Mma(const MmaOperands& operands, const std::source_location& where) {
  if (index_ / simt::kWarp == (block_->shape.threads - 1) / simt::kWarp &&
      block_->shape.threads % simt::kWarp != 0) {
    Report(absl::StrCat("is of a warp with absent lanes, in ", NameOf(Meeting::kMma, where)));
    Stop();
  }
  operands_ = &operands;
  Meet(Meeting::kMma, where);
}

void EmulatedThread::Meet(Meeting meeting, const std::source_location& where) {
  meeting_ = meeting;
  where_ = where;
  state_ = State::kWaits;
  fiber_.Suspend();
}

void EmulatedThread::Report(const std::string& fault) {
  report_ = absl::StrCat(block_->kernel.name, ": block ", block_->index, ", thread ", index_, ": ",
                         fault);
}

void EmulatedThread::Stop() {
  state_ = State::kStopped;
  fiber_.Suspend();
  std::abort();  // nobody resumes it
}

bool EmulatedThread::IsWith(const EmulatedThread& other) const {
  if (state_ != other.state_) return false;
  if (state_ != State::kWaits) return true;
  return meeting_ == other.meeting_ && where_.line() == other.where_.line() &&
         where_.column() == other.where_.column() &&
         (where_.file_name() == other.where_.file_name() ||
          std::strcmp(where_.file_name(), other.where_.file_name()) == 0);
}

std::string NameOf(const std::source_location& where) {
  const std::string path = where.file_name();
  return absl::StrCat(path.substr(path.rfind('/') + 1), ":", where.line());
}

std::string NameOf(EmulatedThread::Meeting meeting, const std::source_location& where) {
  const char* name = "";
  switch (meeting) {
    case EmulatedThread::Meeting::kSyncBlock:
      name = "SyncBlock()";
      break;
    case EmulatedThread::Meeting::kSyncWarp:
      name = "SyncWarp()";
      break;
    case EmulatedThread::Meeting::kShuffleXor:
      name = "ShuffleXor()";
      break;
    case EmulatedThread::Meeting::kBallot:
      name = "Ballot()";
      break;
    case EmulatedThread::Meeting::kMma:
      name = "Mma()";
      break;
  }
  return absl::StrCat(name, " at ", NameOf(where));
}

}  // namespace recurve
