// SPDX-License-Identifier: Apache-2.0
// Code that host and device share: the elementary functions, the arithmetic of sampling and of the
// forward pass, the transition of a slot and the rules of its rows, on equal inputs on both. Both sides flush denormals, as the engine's
// threads and its f32 kernels do.
#include <xmmintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "engine/backend/arithmetic.h"
#include "engine/backend/eviction.h"
#include "engine/backend/gate.h"
#include "engine/backend/precision.h"
#include "engine/backend/rows.h"
#include "engine/backend/step.h"
#include "engine/base/math.h"
#include "engine/base/mix_bits.h"
#include "engine/sampling/arithmetic.h"
#include "tools/gpu_check/probe.h"

namespace recurve::gpu_check {
namespace {

constexpr uint64_t kSeed = 20261127;
constexpr int kChunk = 1 << 12;  // inputs under one digest

RECURVE_HOST_DEVICE uint64_t Random(uint64_t input, int which) {
  return MixBits(kSeed + (input * 8 + which) * kGoldenGamma);
}
RECURVE_HOST_DEVICE float AnyFloat(uint64_t input, int which) {
  return FloatFromBits(static_cast<uint32_t>(Random(input, which)));
}
// In [0, 1), with 24 bits.
RECURVE_HOST_DEVICE float Unit(uint64_t input, int which) {
  return static_cast<float>(Random(input, which) >> 40) * 0x1p-24F;
}
RECURVE_HOST_DEVICE float Between(uint64_t input, int which, float low, float high) {
  return low + (high - low) * Unit(input, which);
}

// All NaN count as one: hosts and devices make different ones.
RECURVE_HOST_DEVICE uint32_t BitsOf(float x) { return x != x ? 0x7FC00000U : FloatBits(x); }

// A function under test: the bits of its result for the input of this number. Functions of one
// float walk over all bit patterns in odd strides, others draw their arguments.
RECURVE_HOST_DEVICE float Walk(uint64_t input) {
  return FloatFromBits(static_cast<uint32_t>(input * 2654435761U));
}

struct ExpBits {
  static constexpr const char* kName = "Exp";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) { return BitsOf(Exp(Walk(i))); }
};
struct Exp2Bits {
  static constexpr const char* kName = "Exp2";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) { return BitsOf(Exp2(Walk(i))); }
};
struct LnBits {
  static constexpr const char* kName = "Ln";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) { return BitsOf(Ln(Walk(i))); }
};
struct TanhBits {
  static constexpr const char* kName = "Tanh";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) { return BitsOf(Tanh(Walk(i))); }
};
struct ErfBits {
  static constexpr const char* kName = "Erf";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) { return BitsOf(Erf(Walk(i))); }
};
struct SigmoidBits {
  static constexpr const char* kName = "Sigmoid";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) { return BitsOf(Sigmoid(Walk(i))); }
};
struct SiluBits {
  static constexpr const char* kName = "Silu";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) { return BitsOf(Silu(Walk(i))); }
};
// Division, square root and conversions, as kernels use them.
struct DivideBits {
  static constexpr const char* kName = "a / b";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    return BitsOf(AnyFloat(i, 0) / AnyFloat(i, 1));
  }
};
struct FmaBits {
  static constexpr const char* kName = "Fma";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    return BitsOf(Fma(AnyFloat(i, 0), AnyFloat(i, 1), AnyFloat(i, 2)));
  }
};
struct InverseRootBits {
  static constexpr const char* kName = "1 / SquareRoot(a)";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    return BitsOf(1.0F / SquareRoot(std::fabs(Walk(i))));
  }
};
struct Bf16Bits {
  static constexpr const char* kName = "FloatToBf16, Bf16ToFloat";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    const Bf16 bits = FloatToBf16(Walk(i));
    return bits + (uint64_t{FloatBits(Bf16ToFloat(bits))} << 32);
  }
};
struct SumBits {
  static constexpr const char* kName = "LaneDot, PairSum";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    constexpr uint32_t kMost = 40;
    const uint32_t n = 1 + Random(i, 0) % kMost;
    float a[kMost];
    float b[kMost];
    for (uint32_t k = 0; k < n; ++k) {
      a[k] = Between(i * kMost + k, 1, -2.0F, 2.0F);
      b[k] = Between(i * kMost + k, 2, -2.0F, 2.0F);
    }
    const float pairs = PairSum(
        n, [&a](uint32_t k) { return a[k]; }, [&b](uint32_t k) { return b[k]; });
    return BitsOf(pairs) + (uint64_t{BitsOf(LaneDot(a, b, n))} << 32);
  }
};
struct RowArithmeticBits {
  static constexpr const char* kName = "InverseRms, ScoreScale, MassShare, Rotate, Gelu";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    float a = Between(i, 0, -4.0F, 4.0F);
    float b = Between(i, 1, -4.0F, 4.0F);
    uint64_t digest = BitsOf(Gelu(a));
    Rotate(Between(i, 2, -1.0F, 1.0F), Between(i, 3, -1.0F, 1.0F), a, b);
    digest = MixBits(digest + BitsOf(a) + (uint64_t{BitsOf(b)} << 32));
    const uint32_t n = 1 + Random(i, 4) % 4096;
    digest = MixBits(digest + BitsOf(InverseRms(Between(i, 5, 0.0F, 1e4F), n, 1e-5F)));
    digest = MixBits(digest + BitsOf(ScoreScale(n)));
    return MixBits(digest + MassShare(Unit(i, 6), Unit(i, 7)));
  }
};
struct GateBits {
  static constexpr const char* kName = "ExpertGate, ExpertPasses, ChooseDepth, ScoreKey";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    constexpr uint32_t kMost = 14;
    RouterConfig router;
    router.function = static_cast<RouterFunction>(Random(i, 0) % 4);
    router.alpha = Between(i, 1, 0.1F, 2.0F);
    router.weighted = Random(i, 0) / 4 % 2 == 0;
    const uint32_t n = 1 + Random(i, 2) % kMost;
    float z[kMost];
    float bias[kMost];
    for (uint32_t k = 0; k < n; ++k) {
      z[k] = Between(i * kMost + k, 3, -9.0F, 9.0F);
      bias[k] = Between(i * kMost + k, 4, -0.1F, 0.1F);
    }
    uint64_t digest = BitsOf(ExpertGate(router, z[0])) + ScoreKey(z[0]);
    digest += ExpertPasses(z[0], z[n - 1], 1, n) ? uint64_t{1} << 63 : 0;
    const DepthChoice choice =
        ChooseDepth(router, n, Random(i, 5) % 2 == 0 ? nullptr : bias, 1 + Random(i, 6) % n, z);
    digest = MixBits(digest + choice.depth);
    return MixBits(digest + BitsOf(choice.score) + (uint64_t{BitsOf(choice.gate)} << 32));
  }
};
struct SinBits {
  static constexpr const char* kName = "Sin";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    return BitsOf(Sin(static_cast<double>(Random(i, 0) >> (11 + i % 32)) * 0x1p-23));
  }
};
struct CosBits {
  static constexpr const char* kName = "Cos";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    return BitsOf(Cos(static_cast<double>(Random(i, 0) >> (11 + i % 32)) * 0x1p-23));
  }
};
struct PowBits {
  static constexpr const char* kName = "Pow";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    return DoubleBits(Pow(1.0 + static_cast<double>(Random(i, 0) >> 30) * 0x1p-14,
                          static_cast<double>(Unit(i, 1)) * 4.0 - 2.0));
  }
};
struct DrawBits {
  static constexpr const char* kName = "DrawTarget";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    const uint64_t seed = Random(i, 0);
    return DrawTarget(static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32),
                      static_cast<uint32_t>(Random(i, 1)), Random(i, 2) >> 15);
  }
};
struct WeightBits {
  static constexpr const char* kName = "Weight, ExponentScale";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    return Weight(-std::fabs(Between(i, 0, 0.0F, 40.0F)),
                  ExponentScale(Between(i, 1, 0.01F, 4.0F)));
  }
};
struct PenalizeBits {
  static constexpr const char* kName = "Penalize";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    SamplingParams params;
    params.repetition_penalty = Between(i, 1, 0.5F, 2.0F);
    params.presence_penalty = Between(i, 2, -2.0F, 2.0F);
    params.frequency_penalty = Between(i, 3, -2.0F, 2.0F);
    return BitsOf(Penalize(Between(i, 0, -50.0F, 50.0F), params, Random(i, 4) % 100));
  }
};
struct OrderKeyBits {
  static constexpr const char* kName = "OrderKey";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    return static_cast<uint64_t>(OrderKey(Walk(i)));
  }
};
struct TopPBits {
  static constexpr const char* kName = "TopPTarget, MinPWeight";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    return TopPTarget(Unit(i, 0), Random(i, 1) >> 12) * 3 + MinPWeight(Unit(i, 2));
  }
};
struct LogProbabilityBits {
  static constexpr const char* kName = "LogProbability";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    return BitsOf(LogProbability(Between(i, 0, -40.0F, 0.0F), Random(i, 1) >> (16 + i % 30)));
  }
};
// Resolve, SpanRows, Pending and Samples on states and outcomes of any kind.
struct ResolveBits {
  static constexpr const char* kName = "Resolve, SpanRows, Pending, Samples";
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    StepShape shape;
    shape.recursions = 1 + Random(i, 0) % 14;
    shape.shared_kv = Random(i, 1) % 2;
    SlotLimits limits;
    limits.prompt = Random(i, 2) % 40;
    limits.end = limits.prompt + Random(i, 2) / 64 % 40;
    limits.room = Random(i, 2) / 4096 % 90;
    limits.chunk = 1 + Random(i, 2) / (1 << 20) % 16;
    SlotState state;
    state.stage = static_cast<Stage>(Random(i, 3) % 4);
    state.recursion = 1 + Random(i, 3) / 4 % shape.recursions;
    state.position = Random(i, 3) / 64 % 90;
    state.rows = Random(i, 3) / 8192 % 17;
    state.active = state.rows == 0 ? 0 : Random(i, 4) % (state.rows + 1);
    Outcome outcome;
    outcome.ran = Random(i, 5) % 8;
    outcome.rows = Random(i, 5) / 8 % 17;
    outcome.active = Random(i, 5) / 256 % 17;
    outcome.flags = Random(i, 5) / 8192 % 8 == 0 ? kStopId : 0;
    const SlotState next = Resolve(state, outcome, limits, shape);
    uint64_t digest = static_cast<uint64_t>(next.stage) + 4 * next.recursion + 64 * next.position;
    digest = MixBits(digest + (uint64_t{next.rows} << 32) + (uint64_t{next.active} << 48));
    for (uint32_t group = 0; group < shape.groups(); ++group) {
      digest = MixBits(digest + next.count[group] + (uint64_t{Pending(next, group, shape)} << 32));
    }
    return digest + SpanRows(next, limits) + (Samples(state, limits) ? uint64_t{1} << 63 : 0);
  }
};

// What a slot of any kind has waiting, and each of its rows at EXIT and in the block.
struct RowsBits {
  static constexpr const char* kName = "NeedOf, EndRow, BlockRow, ExitRows, CapAt, RuleFor";
  RECURVE_HOST_DEVICE static uint64_t Add(uint64_t digest, const Row& row) {
    digest = MixBits(digest + row.position + (uint64_t{row.hidden} << 32));
    digest = MixBits(digest + row.recursion + (uint64_t{row.group} << 32));
    return MixBits(digest + row.entry + (uint64_t{row.visible} << 32));
  }
  RECURVE_HOST_DEVICE static uint64_t Of(uint64_t i) {
    StepShape shape;
    shape.recursions = 1 + Random(i, 0) % 14;
    shape.shared_kv = Random(i, 0) / 16 % 2;
    SlotRecord slot;
    slot.limits = {1 + static_cast<uint32_t>(Random(i, 1) % 40), 80, 80,
                   1 + static_cast<uint32_t>(Random(i, 1) / 64 % 16)};
    slot.area = Random(i, 1) / 1024 % 4 == 0 ? kNoArea : Random(i, 1) / 4096 % 4;
    slot.wants = Random(i, 1) / 65536 % 2;
    slot.eviction = static_cast<EvictionPolicy>(Random(i, 2) % kEvictionPolicies);
    slot.state.stage = static_cast<Stage>(Random(i, 2) / 4 % 4);
    slot.state.position = Random(i, 2) / 16 % 64;
    slot.state.recursion = 1 + Random(i, 2) / 1024 % shape.recursions;
    slot.state.rows = slot.state.active = 1 + Random(i, 2) / 65536 % 8;
    for (uint32_t g = 0; g < kMaxGroups; ++g) slot.state.count[g] = 8 + (Random(i, 3) >> g) % 64;
    const HiddenLayout layout = {32, 16};
    const DepthCap caps[] = {{slot.state.position / 2, 3}, {slot.state.position + 1, 2}};
    uint64_t digest = CapAt(caps, 2, Random(i, 4) % 64, shape.recursions);
    digest += static_cast<uint64_t>(KindOf(slot)) << 32;
    for (uint32_t stage = 0; stage < 4; ++stage) {
      const RowCounts need = NeedOf(slot, static_cast<Stage>(stage));
      digest = MixBits(digest + need.rows + (uint64_t{need.logits} << 32));
      const RowCounts caps_of = CapsOf({5, 1, 6, 7}, static_cast<Stage>(stage), KindOf(slot));
      digest += Fits(need, caps_of) ? 1 : 0;
    }
    for (uint32_t part = 0; part < 3; ++part) {
      const RowRange rows = ExitRows(slot, static_cast<ExitPart>(part));
      for (uint32_t row = rows.begin; row < rows.end; ++row) {
        digest = Add(digest, EndRow(slot, 5, row, shape.exit_group(), layout));
        digest += SamplesRow(slot, slot.state.position + row) ? 1 : 0;
        digest += WantsGivenToken(slot, slot.state.position + row) ? 2 : 0;
      }
    }
    for (uint32_t row = 0; row < slot.state.active; ++row) {
      const bool overlay = Random(i, 5) % 2 == 0;
      digest = Add(digest, BlockRow(slot, 5, row, row, shape, overlay, layout));
    }
    const EvictionRule rule = RuleFor({slot.eviction, 1, 2}, Random(i, 6) % kMaxGroups, shape);
    digest += ElementSize(static_cast<Precision>(Random(i, 7) % 2));
    return digest + static_cast<uint64_t>(rule.policy) +
           (EndsRun({5, 3, 6, 7}, Random(i, 7) % 6, Random(i, 6) / 32 % 2 == 0) ? 8 : 0);
  }
};

template <typename Function>
RECURVE_HOST_DEVICE uint64_t Digest(uint64_t chunk) {
  uint64_t digest = 0;
  for (int i = 0; i < kChunk; ++i) {
    const uint64_t input = chunk * kChunk + i;
    digest += MixBits(Function::Of(input) + input * kGoldenGamma);
  }
  return digest;
}

// One block a chunk; the digest is a sum and does not depend on its order.
template <typename Function>
__global__ void Digests(uint64_t* digests) {
  uint64_t digest = 0;
  for (int i = static_cast<int>(threadIdx.x); i < kChunk; i += static_cast<int>(blockDim.x)) {
    const uint64_t input = uint64_t{blockIdx.x} * kChunk + i;
    digest += MixBits(Function::Of(input) + input * kGoldenGamma);
  }
  atomicAdd(reinterpret_cast<unsigned long long*>(&digests[blockIdx.x]), digest);
}

template <typename Function>
__global__ void Values(uint64_t chunk, uint64_t* values) {
  for (int i = static_cast<int>(threadIdx.x); i < kChunk; i += static_cast<int>(blockDim.x)) {
    values[i] = Function::Of(chunk * kChunk + i);
  }
}

// Compares `inputs` of the function's results; 1 if any differ.
template <typename Function>
int Compare(uint64_t inputs) {
  const uint64_t chunks = inputs / kChunk;
  DeviceArray<uint64_t> digests(chunks);
  Digests<Function><<<static_cast<unsigned>(chunks), 256>>>(digests.get());
  CHECK_CUDA(cudaGetLastError());
  std::vector<uint64_t> host(chunks);
  ParallelFor(chunks, [&](uint64_t begin, uint64_t end) {
    _mm_setcsr(_mm_getcsr() | 0x8040);  // flush denormal results to zero, read denormals as zero
    for (uint64_t chunk = begin; chunk < end; ++chunk) host[chunk] = Digest<Function>(chunk);
  });
  const std::vector<uint64_t> device = digests.ToHost();
  uint64_t wrong = 0;
  uint64_t first = chunks;
  for (uint64_t chunk = 0; chunk < chunks; ++chunk) {
    if (host[chunk] == device[chunk]) continue;
    ++wrong;
    first = std::min(first, chunk);
  }
  std::vector<Field> fields = {{"inputs", static_cast<double>(chunks * kChunk)},
                               {"wrong_chunks", static_cast<double>(wrong)}};
  if (wrong > 0) {
    DeviceArray<uint64_t> values(kChunk);
    Values<Function><<<1, 256>>>(first, values.get());
    const std::vector<uint64_t> of_device = values.ToHost();
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040);
    int shown = 0;
    for (int i = 0; i < kChunk && shown < 4; ++i) {
      const uint64_t input = first * kChunk + i;
      const uint64_t of_host = Function::Of(input);
      if (of_host == of_device[i]) continue;
      char text[128];
      std::snprintf(text, sizeof(text), "input %llu (walk %08x): host %llx device %llx",
                    static_cast<unsigned long long>(input), FloatBits(Walk(input)),
                    static_cast<unsigned long long>(of_host),
                    static_cast<unsigned long long>(of_device[i]));
      fields.emplace_back("wrong" + std::to_string(shown++), text);
    }
    _mm_setcsr(mode);
  }
  Report("shared_code", Function::kName, fields);
  return wrong == 0 ? 0 : 1;
}

}  // namespace

int SharedCodeStage() {
  constexpr uint64_t kEveryFloat = uint64_t{1} << 32;
  constexpr uint64_t kMany = uint64_t{1} << 28;
  constexpr uint64_t kSome = uint64_t{1} << 25;
  int findings = 0;
  findings += Compare<ExpBits>(kEveryFloat);
  findings += Compare<Exp2Bits>(kEveryFloat);
  findings += Compare<LnBits>(kEveryFloat);
  findings += Compare<SiluBits>(kEveryFloat);
  findings += Compare<SigmoidBits>(kEveryFloat);
  findings += Compare<InverseRootBits>(kEveryFloat);
  findings += Compare<ErfBits>(kMany);
  findings += Compare<TanhBits>(kMany);
  findings += Compare<OrderKeyBits>(kMany);
  findings += Compare<DivideBits>(kMany);
  findings += Compare<FmaBits>(kMany);
  findings += Compare<SinBits>(kMany);
  findings += Compare<CosBits>(kMany);
  findings += Compare<PowBits>(kMany);
  findings += Compare<DrawBits>(kMany);
  findings += Compare<WeightBits>(kMany);
  findings += Compare<PenalizeBits>(kMany);
  findings += Compare<TopPBits>(kMany);
  findings += Compare<LogProbabilityBits>(kMany);
  findings += Compare<ResolveBits>(kMany);
  findings += Compare<Bf16Bits>(kEveryFloat);
  findings += Compare<SumBits>(kSome);
  findings += Compare<RowArithmeticBits>(kMany);
  findings += Compare<GateBits>(kSome);
  findings += Compare<RowsBits>(kSome);
  return findings;
}

}  // namespace recurve::gpu_check
