// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/router.h"

#include "engine/backend/arithmetic.h"
#include "engine/backend/gate.h"

namespace recurve::cuda {
namespace {

constexpr uint32_t kMostThreads = 256;

// One row of the block, and what a block of threads needs for it.
class RowRouter {
 public:
  RECURVE_DEVICE RowRouter(const RouterArgs& args, simt::SharedMemory& shared)
      : args_(args),
        hidden_(args.hidden),
        padded_((args.hidden + kSliceInputs - 1) / kSliceInputs * kSliceInputs),
        input_(shared.Array<float>(padded_)),
        inner_(shared.Array<float>(2 * size_t{args.hidden})),
        logits_(shared.Array<float>(kMaxGroups)) {}

  RECURVE_DEVICE void Run(uint32_t index) {
    index_ = index;
    row_ = args_.rows[index];
    switch (args_.config.type) {
      case RouterType::kNone:
        RunFixed();
        break;
      case RouterType::kExpertChoice:
        RunExpert();
        break;
      case RouterType::kTokenChoice:
        RunToken();
        break;
    }
    simt::SyncBlock();
  }

 private:
  RECURVE_DEVICE uint32_t Cap() const {
    return CapOfRow(args_.slots, args_.sizes, row_.slot, row_.position);
  }
  RECURVE_DEVICE void SetPasses(bool passes) {
    if (simt::ThreadIndex() == 0) args_.passes.Set(index_, passes ? 1 : 0);
  }
  RECURVE_DEVICE size_t OwnRow(uint32_t i) const { return size_t{row_.hidden} * hidden_ + i; }
  RECURVE_DEVICE float X(uint32_t i) const { return args_.x[size_t{index_} * hidden_ + i]; }

  // Calls use(i, load(i)) for every i below `count`, spread over the threads; a thread loads four
  // before it uses the first.
  template <typename Load, typename Use>
  RECURVE_DEVICE static void ForEach(uint32_t count, Load load, Use use) {
    constexpr uint32_t kAtOnce = 4;
    const uint32_t threads = simt::BlockSize();
    for (uint32_t first = simt::ThreadIndex(); first < count; first += kAtOnce * threads) {
      decltype(load(0)) loaded[kAtOnce] = {};
      RECURVE_UNROLL
      for (uint32_t k = 0; k < kAtOnce; ++k) {
        if (first + k * threads < count) loaded[k] = load(first + k * threads);
      }
      RECURVE_UNROLL
      for (uint32_t k = 0; k < kAtOnce; ++k) {
        if (first + k * threads < count) use(first + k * threads, loaded[k]);
      }
    }
  }

  // H <- H + gate * x.
  RECURVE_DEVICE void AddScaled(float gate) {
    struct Values {
      float h, x;
    };
    ForEach(
        hidden_,
        [this](uint32_t i) {
          return Values{args_.hidden_rows[OwnRow(i)], X(i)};
        },
        [&](uint32_t i, const Values& v) {
          args_.hidden_rows.Set(OwnRow(i), Fma(gate, v.x, v.h));
        });
    simt::SyncBlock();
  }

  // logits_ [outputs] <- net(H / temperature).
  RECURVE_DEVICE void RunNet(RouterNet net, uint32_t outputs, float temperature) {
    const uint32_t thread = simt::ThreadIndex();
    ForEach(
        padded_, [this](uint32_t i) { return i < hidden_ ? args_.hidden_rows[OwnRow(i)] : 0.0F; },
        [&](uint32_t i, float h) { input_[i] = i < hidden_ ? h / temperature : 0.0F; });
    simt::SyncBlock();
    const bool mlp = args_.config.network == RouterNetwork::kMlp;
    if (mlp) {
      for (uint32_t o = thread; o < 2 * hidden_; o += simt::BlockSize()) {
        inner_[o] = Gelu(Inner(net, o));
      }
      simt::SyncBlock();
    }
    const simt::SharedArray<float> inputs = mlp ? inner_ : input_;
    const uint32_t count = mlp ? 2 * hidden_ : hidden_;
    for (uint32_t first = 0; first < outputs; first += simt::BlockSize() / kLanes) {
      const uint32_t output = first + thread / kLanes;
      const bool is_one = output < outputs;
      float sum = LaneSum(net, is_one ? output : 0, inputs, count);
      // As AddLanes: the other lane's sum may come first, which makes no difference.
      for (uint32_t width = kLanes / 2; width > 0; width /= 2) {
        sum += simt::ShuffleXor(sum, width);
      }
      if (is_one && thread % kLanes == 0) logits_[output] = sum;
    }
    simt::SyncBlock();
  }

  // The chain of this thread's lane in an output's lane sum.
  RECURVE_DEVICE static float LaneSum(const RouterNet& net, uint32_t output,
                                      simt::SharedArray<float> inputs, uint32_t count) {
    constexpr uint32_t kAtOnce = 24;  // weights that a thread loads before it uses the first
    const simt::Constant<float> out = net.out.Part(size_t{output} * count, count);
    const uint32_t lane = simt::ThreadIndex() % kLanes;
    float sum = 0.0F;
    for (uint32_t first = 0; first < count; first += kAtOnce * kLanes) {
      const auto input = [=](uint32_t k) {
        const uint32_t i = first + k * kLanes + lane;
        return i < count ? i : count - 1;
      };
      float weights[kAtOnce];
      RECURVE_UNROLL
      for (uint32_t k = 0; k < kAtOnce; ++k) weights[k] = out[input(k)];
      simt::SyncWarp();  // or the compiler lets a weight be waited for before the next is asked for
      RECURVE_UNROLL
      for (uint32_t k = 0; k < kAtOnce; ++k) {
        const float next = Fma(inputs[input(k)], weights[k], sum);
        if (first + k * kLanes + lane < count) sum = next;
      }
    }
    return sum;
  }

  // An output of an mlp's first matrix, by slices.
  RECURVE_DEVICE float Inner(const RouterNet& net, uint32_t output) const {
    float sum = 0.0F;
    for (uint32_t slice = 0; slice < padded_; slice += kSliceInputs) {
      sum += PairSum(
          kSliceInputs, [&](uint32_t k) { return input_[slice + k]; },
          [&](uint32_t k) {
            const uint32_t i = slice + k;
            return i < hidden_ ? net.hidden[size_t{i} * 2 * hidden_ + output] : 0.0F;
          });
    }
    return sum;
  }

  RECURVE_DEVICE void RunFixed() {
    for (uint32_t i = simt::ThreadIndex(); i < hidden_; i += simt::BlockSize()) {
      args_.hidden_rows.Set(OwnRow(i), X(i));
    }
    SetPasses(Passes(row_.recursion, Cap()));
  }

  RECURVE_DEVICE void RunExpert() {
    const RouterConfig& config = args_.config;
    const uint32_t thread = simt::ThreadIndex();
    float gate = 1.0F;
    if (config.weighted) {
      if (row_.recursion == 1) {
        RunNet(args_.nets[0], 1, config.temperature);
        gate = ExpertGate(config, logits_[0]);
        simt::SyncBlock();
      } else {
        gate = ExpertGate(config, args_.gate[row_.hidden]);
      }
    }
    AddScaled(gate);
    if (row_.recursion == args_.sizes.shape.recursions) {
      SetPasses(false);
      return;
    }
    const bool aux = config.sampling == RouterSampling::kAuxRouter;
    if (config.weighted || !aux) {
      RunNet(args_.nets[row_.recursion], 1, config.temperature);
      if (thread == 0) args_.gate.Set(row_.hidden, logits_[0]);
      simt::SyncBlock();
    }
    if (aux) RunNet(args_.aux_nets[row_.recursion], 1, 1.0F);
    const float z = logits_[0];
    const float threshold = args_.slots.records[row_.slot].threshold_logit;
    SetPasses(ExpertPasses(z, threshold, row_.recursion, Cap()));
    if (thread == 0) args_.score.Set(row_.hidden, z);
  }

  RECURVE_DEVICE void RunToken() {
    const uint32_t thread = simt::ThreadIndex();
    if (row_.recursion == 1) {
      const uint32_t recursions = args_.sizes.shape.recursions;
      RunNet(args_.nets[0], recursions, args_.config.temperature);
      if (thread == 0) DecideDepth(recursions);
      simt::SyncBlock();
    }
    const bool passes = Passes(row_.recursion, args_.depth[row_.hidden]);
    SetPasses(passes);
    if (!passes) {
      AddScaled(args_.gate[row_.hidden]);
      return;
    }
    for (uint32_t i = thread; i < hidden_; i += simt::BlockSize()) {
      args_.stream.Set(OwnRow(i), X(i));
    }
  }

  RECURVE_DEVICE void DecideDepth(uint32_t recursions) {
    float z[kMaxGroups];
    float bias[kMaxGroups];
    for (uint32_t i = 0; i < recursions; ++i) {
      z[i] = logits_[i];
      bias[i] = args_.has_bias != 0 ? args_.bias[i] : 0.0F;
    }
    const DepthChoice choice =
        ChooseDepth(args_.config, recursions, args_.has_bias != 0 ? bias : nullptr, Cap(), z);
    args_.depth.Set(row_.hidden, choice.depth);
    args_.score.Set(row_.hidden, choice.score);
    args_.gate.Set(row_.hidden, choice.gate);
  }

  const RouterArgs& args_;
  const uint32_t hidden_;
  const uint32_t padded_;
  const simt::SharedArray<float> input_;   // [padded_]
  const simt::SharedArray<float> inner_;   // [2 * hidden_]
  const simt::SharedArray<float> logits_;  // [kMaxGroups]
  uint32_t index_ = 0;
  Row row_ = {};
};

RECURVE_KERNEL(kMostThreads, 2) RouterKernel(const RouterArgs args) {
  simt::GridWait();
  if (simt::BlockIndex() == 0 && simt::ThreadIndex() == 0) {
    args.stamps.Set(kPartRouters, simt::GlobalTimer());
  }
  simt::SharedMemory shared;
  RowRouter router(args, shared);
  const uint32_t rows = args.counts[0].block_rows;
  for (uint32_t r = simt::BlockIndex(); r < rows; r += simt::GridSize()) router.Run(r);
}

// How many nets rows of the block run.
double NetsOf(const RouterConfig& config, double recursions) {
  if (config.type == RouterType::kNone) return 0;
  if (config.type == RouterType::kTokenChoice) return 1;
  const bool has_aux = config.sampling == RouterSampling::kAuxRouter;
  const double main = config.weighted ? recursions : (has_aux ? 0 : recursions - 1);
  return main + (has_aux ? recursions - 1 : 0);
}

// Weights of all of them.
double NetWeights(const RouterConfig& config, double recursions, double hidden) {
  const double outputs = config.type == RouterType::kTokenChoice ? recursions : 1;
  const bool is_mlp = config.network == RouterNetwork::kMlp;
  const double net = is_mlp ? 2 * hidden * (hidden + outputs) : hidden * outputs;
  return NetsOf(config, recursions) * net;
}

WorkCount RouterWork(const RouterArgs& args) {
  const double recursions = args.sizes.shape.recursions;
  double vectors = 2 * recursions;
  double sums = 0;  // H + gate * x
  switch (args.config.type) {
    case RouterType::kNone:
      break;
    case RouterType::kExpertChoice:
      vectors = 3 * recursions;
      sums = recursions;
      break;
    case RouterType::kTokenChoice:
      vectors += recursions > 1 ? 2 : 1;
      sums = 1;
      break;
  }
  const double weights = NetWeights(args.config, recursions, args.hidden);
  return {.part = kPartRouters,
          .weight_bytes = weights * sizeof(float),
          .row_bytes = vectors * args.hidden * sizeof(float) / recursions,
          .row_flops = 2 * (weights + sums * args.hidden) / recursions};
}

}  // namespace

absl::Status LaunchRouter(Runtime& runtime, const RouterArgs& args) {
  const LaunchShape shape = {.blocks = 2 * runtime.facts().multiprocessors,
                             .threads = ThreadsFor(args.hidden, kMostThreads),
                             .shared_bytes = simt::SharedBytes<float>(args.hidden + kSliceInputs) +
                                             simt::SharedBytes<float>(2 * size_t{args.hidden}) +
                                             simt::SharedBytes<float>(kMaxGroups),
                             .work = RouterWork(args)};
  return Launch(runtime, "router", RouterKernel, shape, args);
}

}  // namespace recurve::cuda
