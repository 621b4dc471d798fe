// SPDX-License-Identifier: Apache-2.0
// Constant, In and Out as simt.h says, checked at every access. A span knows its memory's account
// and its own bounds. What is wrong stops the thread with a report; Set, Edit, Add and Or give
// their bytes a value, the others ask for one. Spans are plain values, made by the host or from
// each other; one that the host makes beyond its memory is reported and has no elements.
#ifndef RECURVE_TESTS_SIMT_SPANS_H_
#define RECURVE_TESTS_SIMT_SPANS_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "engine/backend/cuda/device_memory.h"
#include "tests/simt/emulated_thread.h"
#include "tests/simt/faults.h"
#include "tests/simt/memory_account.h"

namespace recurve::simt {

namespace simt_internal {

template <typename T>
bool IsAligned(const void* data) {
  return reinterpret_cast<uintptr_t>(data) % alignof(T) == 0;
}

template <typename T>
class Span {
 public:
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= MemoryAccount::kMaxElementBytes);
  Span() = default;
  Span(const DeviceMemory& memory, size_t begin, size_t count) {
    const bool fits = begin <= memory.bytes / sizeof(T) &&
                      count <= memory.bytes / sizeof(T) - begin && IsAligned<T>(memory.data);
    if (!fits) {
      ReportSpan(memory, begin, count, sizeof(T));
      return;
    }
    data_ = reinterpret_cast<T*>(memory.data) + begin;
    count_ = count;
    account_ = static_cast<MemoryAccount*>(memory.tracker);
  }

 protected:
  Span(T* data, size_t count, MemoryAccount* account)
      : data_(data), count_(count), account_(account) {}

  // `count` elements of U from the byte on where element `begin` is.
  template <typename U>
  Span<U> Part(const char* call, size_t begin, size_t count) const {
    const bool fits = begin <= count_ && count <= (count_ - begin) * sizeof(T) / sizeof(U) &&
                      IsAligned<U>(data_ + begin);
    if (!fits) [[unlikely]] {
      StopForPart(call, begin, count, sizeof(U), extent());
      return {};
    }
    return {reinterpret_cast<U*>(data_ + begin), count, account_};
  }

  const T& ReadConstant(size_t i) const {
    EmulatedThread& thread = EmulatedThread::Running();
    if (i >= count_ || account_->written_by_kernel || !IsWritten(i)) [[unlikely]] {
      StopFor(Access::kConstant, i, extent());
    }
    account_->read_as_constant = true;
    thread.CountRead(sizeof(T));
    return data_[i];
  }

  const T& Read(Access access, size_t i) const {
    EmulatedThread& thread = EmulatedThread::Running();
    if (i >= count_ || !thread.may_touch() || !IsWritten(i)) [[unlikely]] {
      StopFor(access, i, extent());
    }
    thread.CountRead(sizeof(T));
    return data_[i];
  }

  // Element `i`, to be given a value.
  T& Write(Access access, size_t i) const {
    EmulatedThread& thread = EmulatedThread::Running();
    if (i >= count_ || !thread.may_touch() || account_->read_as_constant) [[unlikely]] {
      StopFor(access, i, extent());
    }
    account_->written_by_kernel = true;
    account_->template SetWritten<sizeof(T)>(data_ + i);
    thread.CountWrite(sizeof(T));
    return data_[i];
  }

  // Element `to` becomes what element `from` is, with a value or without.
  void CopyElement(size_t to, size_t from) const {
    if (from >= count_) [[unlikely]] {
      StopFor(Access::kCopy, from, extent());
    }
    EmulatedThread::Running().CountRead(sizeof(T));
    Write(Access::kCopy, to) = data_[from];
    account_->template CopyMarks<sizeof(T)>(data_ + to, data_ + from);
  }

  // Element `i`, which has a value, to be given another.
  T& Change(Access access, size_t i) const {
    Read(access, i);
    return Write(access, i);
  }

 private:
  template <typename U>
  friend class Span;

  bool IsWritten(size_t i) const { return account_->template IsWritten<sizeof(T)>(data_ + i); }
  Extent extent() const { return {data_, count_, sizeof(T), account_}; }

  T* data_ = nullptr;
  size_t count_ = 0;
  MemoryAccount* account_ = nullptr;
};

}  // namespace simt_internal

template <typename T>
class Constant : public simt_internal::Span<T> {
  using Base = simt_internal::Span<T>;

 public:
  using Base::Base;
  const T& operator[](size_t i) const { return this->ReadConstant(i); }
  T Stream(size_t i) const { return this->ReadConstant(i); }
  Constant Part(size_t begin, size_t count) const {
    return Constant(Base::template Part<T>("Part", begin, count));
  }

 private:
  explicit Constant(const Base& span) : Base(span) {}
};

template <typename T>
class In : public simt_internal::Span<T> {
  using Base = simt_internal::Span<T>;
  using Access = simt_internal::Access;

 public:
  using Base::Base;
  const T& operator[](size_t i) const { return this->Read(Access::kIn, i); }
  In Part(size_t begin, size_t count) const {
    return In(Base::template Part<T>("Part", begin, count));
  }
  template <typename U>
  In<U> As(size_t begin, size_t count) const {
    return In<U>(Base::template Part<U>("As", begin, count));
  }

 private:
  template <typename U>
  friend class In;
  template <typename U>
  friend class Out;
  explicit In(const Base& span) : Base(span) {}
};

template <typename T>
class Out : public simt_internal::Span<T> {
  using Base = simt_internal::Span<T>;
  using Access = simt_internal::Access;

 public:
  using Base::Base;
  const T& operator[](size_t i) const { return this->Read(Access::kOut, i); }
  Out Part(size_t begin, size_t count) const {
    return Out(Base::template Part<T>("Part", begin, count));
  }
  template <typename U>
  Out<U> As(size_t begin, size_t count) const {
    return Out<U>(Base::template Part<U>("As", begin, count));
  }
  In<T> ToRead() const { return In<T>(*this); }
  void Set(size_t i, const T& value) const { this->Write(Access::kSet, i) = value; }
  void Copy(size_t to, size_t from) const { this->CopyElement(to, from); }
  T& Edit(size_t i) const { return this->Change(Access::kEdit, i); }
  // Integers alone: sums of floats would depend on the order of threads.
  T Add(size_t i, T value) const {
    static_assert(std::is_integral_v<T>);
    T& element = this->Change(Access::kAdd, i);
    const T before = element;
    element = static_cast<T>(before + value);
    return before;
  }
  T Or(size_t i, T value) const {
    static_assert(std::is_integral_v<T>);
    T& element = this->Change(Access::kOr, i);
    const T before = element;
    element = static_cast<T>(before | value);
    return before;
  }

 private:
  template <typename U>
  friend class Out;
  explicit Out(const Base& span) : Base(span) {}
};

}  // namespace recurve::simt

#endif  // RECURVE_TESTS_SIMT_SPANS_H_
