// SPDX-License-Identifier: Apache-2.0
// Random products for the tests of matrix kernels.
#ifndef RECURVE_TESTS_ENGINE_BACKEND_CPU_KERNELS_LINEAR_PROBLEM_H_
#define RECURVE_TESTS_ENGINE_BACKEND_CPU_KERNELS_LINEAR_PROBLEM_H_

#include <cmath>
#include <memory>
#include <vector>

#include "engine/backend/cpu/kernels/kernels.h"
#include "engine/base/float_env.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/cpu/kernels/kernel_test_util.h"

namespace recurve {

inline constexpr float kUntouched = 12352.0F;  // which bf16 has too

// One random product: weights, activations, and a result to add to.
struct Problem {
  Problem(uint32_t seed, Precision p, Epilogue e, Range range, uint32_t of_rows = 0)
      : precision(p), epilogue(e) {
    Random random(seed);
    rows = of_rows == 0 ? random.Int(1, 40) : of_rows;
    inputs = random.Int(1, 200);
    const uint32_t outputs = random.Int(1, 130);
    x = random.Floats(size_t{rows} * inputs, range);
    first = std::make_unique<OwnedTensor>(outputs, inputs,
                                          random.Floats(size_t{outputs} * inputs, range));
    if (e == Epilogue::kSilu) {
      second = std::make_unique<OwnedTensor>(outputs, inputs,
                                             random.Floats(size_t{outputs} * inputs, range));
      const Tensor parts[] = {first->view, second->view};
      matrix = *PackedMatrix::Pack(parts, PackedMatrix::Order::kInterleaved, p);
      columns = RoundUp(outputs, kInterleave);
    } else {
      matrix = *PackedMatrix::Pack({&first->view, 1}, PackedMatrix::Order::kConcatenated, p);
      columns = outputs;
    }
    y_stride = columns + random.Int(0, 5);
    residual = random.Floats(rows * y_stride, range);
    x_stride = matrix.padded_inputs() + random.Int(0, 40);
    packed_x = Activations(x, rows, inputs, x_stride, precision);
  }

  // Runs rows [row, row + count) and groups [begin, end) into y: floats, widened when the kernel
  // wrote bf16.
  void Run(Isa isa, uint32_t row, uint32_t count, uint32_t begin, uint32_t end,
           std::vector<float>* y) const {
    Run(KernelsFor(isa).linear, row, count, begin, end, y);
  }
  void Run(const LinearFunction& linear, uint32_t row, uint32_t count, uint32_t begin, uint32_t end,
           std::vector<float>* y) const {
    const bool narrow = epilogue == Epilogue::kSilu && precision == Precision::kBf16;
    std::vector<Bf16> y16(narrow ? y->size() : 0);
    for (size_t i = 0; i < y16.size(); ++i) y16[i] = FloatToBf16((*y)[i]);
    std::vector<float> scratch(LinearScratch(matrix));
    const size_t y_offset = row * y_stride;
    LinearArgs args;
    args.weights = &matrix;
    args.panel_begin = begin;
    args.panel_end = end;
    args.rows = count;
    args.x = packed_x.data() + row * x_stride * ElementSize(precision);
    args.x_stride = x_stride;
    args.epilogue = epilogue;
    args.y = narrow ? static_cast<void*>(y16.data() + y_offset)
                    : static_cast<void*>(y->data() + y_offset);
    args.y_stride = y_stride;
    args.scratch = scratch.data();
    linear(args);
    for (size_t i = 0; i < y16.size(); ++i) (*y)[i] = Bf16ToFloat(y16[i]);
  }

  std::vector<float> Initial() const {
    return epilogue == Epilogue::kAdd ? residual : std::vector<float>(rows * y_stride, kUntouched);
  }
  std::vector<float> RunAll(Isa isa) const { return RunAll(KernelsFor(isa).linear); }
  std::vector<float> RunAll(const LinearFunction& linear) const {
    std::vector<float> y = Initial();
    Run(linear, 0, rows, 0, matrix.panels(), &y);
    return y;
  }

  // Row times output by the order that kernels.h writes, from the unpacked weights.
  float Ordered(const OwnedTensor& w, uint32_t row, uint32_t output) const {
    float sum = 0;
    for (uint32_t slice = 0; slice < inputs; slice += 32) {
      float even = 0;
      float odd = 0;
      for (uint32_t k = slice; k < slice + 32; ++k) {
        float& chain = k % 2 == 0 ? even : odd;
        chain = std::fma(X(row, k), W(w, output, k), chain);
      }
      sum = sum + (even + odd);
    }
    return sum;
  }
  // The same product, and the sum of its terms' magnitudes, in double.
  double Exact(const OwnedTensor& w, uint32_t row, uint32_t output, double* magnitude) const {
    double sum = 0;
    *magnitude = 0;
    for (uint32_t k = 0; k < inputs; ++k) {
      const double term = static_cast<double>(X(row, k)) * W(w, output, k);
      sum += term;
      *magnitude += std::abs(term);
    }
    return sum;
  }
  float X(uint32_t row, uint32_t k) const {
    return k < inputs ? RoundedTo(precision, x[size_t{row} * inputs + k]) : 0.0F;
  }
  float W(const OwnedTensor& w, uint32_t output, uint32_t k) const {
    if (k >= inputs || output >= w.view.rows) return 0.0F;
    return RoundedTo(precision, w.values[size_t{output} * inputs + k]);
  }

  Precision precision;
  Epilogue epilogue;
  uint32_t rows = 0;
  uint32_t inputs = 0;
  uint32_t columns = 0;  // of y
  size_t y_stride = 0;
  size_t x_stride = 0;
  std::vector<float> x;         // [rows][inputs]
  std::vector<float> residual;  // [rows][y_stride]
  std::unique_ptr<OwnedTensor> first;
  std::unique_ptr<OwnedTensor> second;
  PackedMatrix matrix;
  std::vector<std::byte> packed_x;
};

// Calls test(seed, problem, range) for random problems of every kind.
template <typename Test>
void ForProblems(uint32_t count, Test test) {
  const ScopedFloatEnv env;
  uint32_t seed = 0;
  for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
    for (const Epilogue epilogue : {Epilogue::kStore, Epilogue::kAdd, Epilogue::kSilu}) {
      for (const Range range : kAllRanges) {
        for (uint32_t i = 0; i < count; ++i) {
          SCOPED_TRACE(testing::Message()
                       << "seed " << ++seed << " bf16 " << (precision == Precision::kBf16)
                       << " epilogue " << static_cast<int>(epilogue) << " " << Name(range));
          test(Problem(seed, precision, epilogue, range), range);
          if (testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

}  // namespace recurve

#endif  // RECURVE_TESTS_ENGINE_BACKEND_CPU_KERNELS_LINEAR_PROBLEM_H_
