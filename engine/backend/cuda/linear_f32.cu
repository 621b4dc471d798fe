// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/backend/arithmetic.h"
#include "engine/backend/cuda/linear_f32.h"

namespace recurve::cuda {
namespace {

constexpr uint32_t kMostThreads = 128;

// The inputs of one row in shared memory, up to a whole number of slices with zeros.
class RowInputs {
 public:
  RECURVE_DEVICE RowInputs(uint32_t inputs, simt::SharedMemory& shared)
      : inputs_(inputs),
        padded_((inputs + kSliceInputs - 1) / kSliceInputs * kSliceInputs),
        x_(shared.Array<float>(padded_)),
        lanes_(shared.Array<float>(kLanes)) {}

  // All threads of the block call these.
  RECURVE_DEVICE void Load(const ProductF32& product, uint32_t row) {
    simt::SyncBlock();  // nobody reads the row before any more
    for (uint32_t k = simt::ThreadIndex(); k < padded_; k += simt::BlockSize()) {
      x_[k] = k < inputs_ ? product.x[size_t{row} * inputs_ + k] : 0.0F;
    }
    simt::SyncBlock();
  }

  // RMSNorm in place: the lane sum of the squares, then each input on its own.
  RECURVE_DEVICE void Norm(const NormF32& norm) {
    const uint32_t thread = simt::ThreadIndex();
    if (thread < kLanes) {
      float lane = 0.0F;
      for (uint32_t k = thread; k < inputs_; k += kLanes) lane = Fma(x_[k], x_[k], lane);
      lanes_[thread] = lane;
    }
    simt::SyncBlock();
    float lanes[kLanes];
    for (uint32_t l = 0; l < kLanes; ++l) lanes[l] = lanes_[l];
    const float inverse = InverseRms(AddLanes(lanes), inputs_, norm.epsilon);
    for (uint32_t k = thread; k < inputs_; k += simt::BlockSize()) {
      x_[k] = x_[k] * inverse * norm.gamma[k];
    }
    simt::SyncBlock();
  }

  // One output of a product with weights [inputs][outputs].
  RECURVE_DEVICE float Product(const simt::Constant<float>& weights, size_t first, uint32_t outputs,
                               uint32_t output) const {
    float sum = 0.0F;
    for (uint32_t slice = 0; slice < padded_; slice += kSliceInputs) {
      sum += PairSum(
          kSliceInputs, [&](uint32_t k) { return x_[slice + k]; },
          [&](uint32_t k) {
            const uint32_t input = slice + k;
            return input < inputs_ ? weights[first + size_t{input} * outputs + output] : 0.0F;
          });
    }
    return sum;
  }

 private:
  const uint32_t inputs_;
  const uint32_t padded_;
  const simt::SharedArray<float> x_;      // [padded_]
  const simt::SharedArray<float> lanes_;  // [kLanes]
};

size_t RowInputsShared(uint32_t inputs) {
  return simt::SharedBytes<float>(inputs + kSliceInputs) + simt::SharedBytes<float>(kLanes);
}

// The first element of the weights that a row uses.
RECURVE_DEVICE size_t SetOf(const ProductF32& product, uint32_t row) {
  if (product.sets == 1) return 0;
  return size_t{product.rows[row].recursion - 1} * product.inputs * product.outputs;
}

// Calls body(row, inputs, task) for each task in [0, tasks) of each row, a thread each, with the
// row's inputs loaded and normalized if there is a norm.
template <typename Body>
RECURVE_DEVICE void ForEachTask(const ProductF32& product, const NormF32* norm, uint32_t tasks,
                                Body body) {
  simt::GridWait();
  simt::SharedMemory shared;
  RowInputs inputs(product.inputs, shared);
  const uint32_t rows = CountOf(product.counts[0], product.set);
  const uint32_t parts = (tasks + simt::BlockSize() - 1) / simt::BlockSize();
  for (uint32_t item = simt::BlockIndex(); item < rows * parts; item += simt::GridSize()) {
    const uint32_t row = item / parts;
    inputs.Load(product, row);
    if (norm != nullptr) inputs.Norm(*norm);
    const uint32_t task = item % parts * simt::BlockSize() + simt::ThreadIndex();
    if (task < tasks) body(row, inputs, task);
  }
}

// ---- ProjectQkv ----

// Dimensions `pair` and `pair` + head_dim / 2 of one head: of a query, a key, or, not rotated, a
// value. Heads are numbered through queries, keys and values.
RECURVE_DEVICE void ProjectPair(const ProjectQkvArgs& args, const Row& row, uint32_t index,
                                const RowInputs& inputs, uint32_t head, uint32_t pair) {
  const KvLayout& layout = args.layout;
  const uint32_t half = layout.head_dim / 2;
  const bool is_query = head < args.heads;
  if (!is_query && row.entry == kNoEntry) return;
  const size_t set = SetOf(args.product, index);
  const uint32_t output = head * layout.head_dim + pair;
  const uint32_t outputs = args.product.outputs;
  float a = inputs.Product(args.product.weights, set, outputs, output);
  float b = inputs.Product(args.product.weights, set, outputs, output + half);
  const bool is_value = head >= args.heads + layout.kv_heads;
  if (!is_value) {
    const Angle angle = args.rotary.AngleOf(row.position, pair, half);
    Rotate(angle.cos, angle.sin, a, b);
  }
  if (is_query) {
    const size_t at = size_t{index} * args.heads * layout.head_dim + output;
    args.q.Set(at, a);
    args.q.Set(at + half, b);
    return;
  }
  const uint32_t kv_head = (head - args.heads) % layout.kv_heads;
  const EntryPlace place = PlaceOf(args.slots, args.sizes, row.slot, row.group, row.entry);
  const size_t at = layout.Offset(place.page, args.sizes.page_entries[row.group], args.layer,
                                  is_value ? 1 : 0, kv_head, place.entry);
  args.pages.Set(at + pair, a);
  args.pages.Set(at + half + pair, b);
  if (is_value && kv_head == 0 && pair == 0) {
    args.entry_positions.Set(size_t{place.page} * layout.page_capacity + place.entry, row.position);
  }
}

RECURVE_KERNEL(kMostThreads) ProjectQkvKernel(const ProjectQkvArgs args) {
  const uint32_t half = args.layout.head_dim / 2;
  const uint32_t tasks = (args.heads + 2 * args.layout.kv_heads) * half;
  ForEachTask(args.product, &args.norm, tasks,
              [&](uint32_t row, const RowInputs& inputs, uint32_t task) {
                ProjectPair(args, args.product.rows[row], row, inputs, task / half, task % half);
              });
}

// ---- The others ----

RECURVE_KERNEL(kMostThreads) AddProductKernel(const AddProductArgs args) {
  const ProductF32& product = args.product;
  ForEachTask(product, nullptr, product.outputs,
              [&](uint32_t row, const RowInputs& inputs, uint32_t output) {
                const float sum =
                    inputs.Product(product.weights, SetOf(product, row), product.outputs, output);
                args.residual.Edit(size_t{row} * product.outputs + output) += sum;
              });
}

RECURVE_KERNEL(kMostThreads) GateUpKernel(const GateUpArgs args) {
  const ProductF32& product = args.product;
  ForEachTask(product, &args.norm, product.outputs,
              [&](uint32_t row, const RowInputs& inputs, uint32_t output) {
                const float gate = inputs.Product(product.weights, 0, product.outputs, output);
                const float up = inputs.Product(args.up, 0, product.outputs, output);
                args.y.Set(size_t{row} * product.outputs + output, Silu(gate) * up);
              });
}

RECURVE_KERNEL(kMostThreads) HeadKernel(const HeadArgs args) {
  const ProductF32& product = args.product;
  ForEachTask(product, &args.norm, product.outputs,
              [&](uint32_t row, const RowInputs& inputs, uint32_t output) {
                args.logits.Set(size_t{row} * product.outputs + output,
                                inputs.Product(product.weights, 0, product.outputs, output));
              });
}

// `matrices`: of the product's size that the kernel multiplies with.
WorkCount WorkOf(const ProductF32& product, double matrices) {
  const double weights = matrices * product.inputs * product.outputs;
  return {.part = PartOf(product.set),
          .weight_bytes = weights * sizeof(float),
          .row_bytes = static_cast<double>(product.inputs + product.outputs) * sizeof(float),
          .row_flops = 2 * weights};
}

template <typename Args>
absl::Status LaunchProduct(Runtime& runtime, const char* name, void (*kernel)(Args),
                           const Args& args, double matrices = 1) {
  const LaunchShape shape = {.blocks = 4 * runtime.facts().multiprocessors,
                             .threads = ThreadsFor(args.product.outputs, kMostThreads),
                             .shared_bytes = RowInputsShared(args.product.inputs),
                             .work = WorkOf(args.product, matrices)};
  return Launch(runtime, name, kernel, shape, args);
}

}  // namespace

absl::Status LaunchProjectQkv(Runtime& runtime, const ProjectQkvArgs& args) {
  return LaunchProduct(runtime, "project_qkv_f32", ProjectQkvKernel, args);
}

absl::Status LaunchAddProduct(Runtime& runtime, const AddProductArgs& args) {
  return LaunchProduct(runtime, "add_product_f32", AddProductKernel, args);
}

absl::Status LaunchGateUp(Runtime& runtime, const GateUpArgs& args) {
  return LaunchProduct(runtime, "gate_up_f32", GateUpKernel, args, 2);
}

absl::Status LaunchHead(Runtime& runtime, const HeadArgs& args) {
  return LaunchProduct(runtime, "head_f32", HeadKernel, args);
}

}  // namespace recurve::cuda
