// SPDX-License-Identifier: Apache-2.0
#include "engine/backend/cuda/cublas_lt.h"

#include <dlfcn.h>
#include <library_types.h>

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace recurve::cuda {
namespace {

// What is used of cublasLt.h, whose values and layouts are those of every version since 11.
using Status = int;  // cublasStatus_t; 0: success
using Handle = struct HandleTag*;
using Description = struct DescriptionTag*;
using Layout = struct LayoutTag*;
using Preference = struct PreferenceTag*;
struct Algorithm {
  uint64_t data[8];
};
struct HeuristicResult {
  Algorithm algorithm;
  size_t workspace_bytes;
  Status status;
  float waves;
  int reserved[4];
};
constexpr int kCompute32F = 68;
constexpr int kTransposeA = 3;          // CUBLASLT_MATMUL_DESC_TRANSA
constexpr int kMostWorkspaceBytes = 1;  // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES
constexpr int32_t kTransposed = 1;

// The functions, by their names.
struct Functions {
  Status (*Create)(Handle*) = nullptr;
  Status (*MatmulDescCreate)(Description*, int, cudaDataType) = nullptr;
  Status (*MatmulDescSetAttribute)(Description, int, const void*, size_t) = nullptr;
  Status (*MatrixLayoutCreate)(Layout*, cudaDataType, uint64_t, uint64_t, int64_t) = nullptr;
  Status (*MatmulPreferenceCreate)(Preference*) = nullptr;
  Status (*MatmulPreferenceSetAttribute)(Preference, int, const void*, size_t) = nullptr;
  Status (*MatmulAlgoGetHeuristic)(Handle, Description, Layout, Layout, Layout, Layout, Preference,
                                   int, HeuristicResult*, int*) = nullptr;
  Status (*Matmul)(Handle, Description, const void*, const void*, Layout, const void*, Layout,
                   const void*, const void*, Layout, void*, Layout, const Algorithm*, void*, size_t,
                   cudaStream_t) = nullptr;
};

absl::Status ToStatus(Status status, const char* call) {
  if (status == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cublasLt", call, ": status ", status));
}

absl::Status Find(void* library, const char* name, auto** function) {
  const std::string symbol = absl::StrCat("cublasLt", name);
  *function = reinterpret_cast<std::remove_reference_t<decltype(*function)>>(
      dlsym(library, symbol.c_str()));
  if (*function != nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("cuBLASLt lacks ", symbol));
}

// A product of one size, ready to run.
struct Plan {
  Description description = nullptr;
  Layout weights = nullptr;
  Layout x = nullptr;
  Layout y = nullptr;
  Algorithm algorithm = {};
};

class LoadedCublasLt final : public CublasLt {
 public:
  absl::Status Open() {
    // By version, newest first; a program's library path may have any.
    void* library = nullptr;
    for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"}) {
      if (library == nullptr) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    }
    if (library == nullptr) {
      return absl::FailedPreconditionError(
          "no libcublasLt.so of version 13 or 12 was found; install cuBLAS, or name its folder in "
          "LD_LIBRARY_PATH");
    }
    RETURN_IF_ERROR(Find(library, "Create", &f_.Create));
    RETURN_IF_ERROR(Find(library, "MatmulDescCreate", &f_.MatmulDescCreate));
    RETURN_IF_ERROR(Find(library, "MatmulDescSetAttribute", &f_.MatmulDescSetAttribute));
    RETURN_IF_ERROR(Find(library, "MatrixLayoutCreate", &f_.MatrixLayoutCreate));
    RETURN_IF_ERROR(Find(library, "MatmulPreferenceCreate", &f_.MatmulPreferenceCreate));
    RETURN_IF_ERROR(
        Find(library, "MatmulPreferenceSetAttribute", &f_.MatmulPreferenceSetAttribute));
    RETURN_IF_ERROR(Find(library, "MatmulAlgoGetHeuristic", &f_.MatmulAlgoGetHeuristic));
    RETURN_IF_ERROR(Find(library, "Matmul", &f_.Matmul));
    RETURN_IF_ERROR(ToStatus(f_.Create(&handle_), "Create"));
    RETURN_IF_ERROR(ToStatus(f_.MatmulPreferenceCreate(&preference_), "MatmulPreferenceCreate"));
    return ToStatus(f_.MatmulPreferenceSetAttribute(preference_, kMostWorkspaceBytes,
                                                    &kWorkspaceBytes, sizeof(kWorkspaceBytes)),
                    "MatmulPreferenceSetAttribute");
  }

  absl::Status Multiply(const PlainProduct& product, const DeviceMemory& workspace,
                        cudaStream_t stream) override {
    ASSIGN_OR_RETURN(const Plan* const plan, PlanOf(product));
    const float one = 1.0F;
    const float zero = 0.0F;
    return ToStatus(
        f_.Matmul(handle_, plan->description, &one, product.weights.data, plan->weights,
                  product.x.data, plan->x, &zero, product.y.data, plan->y, product.y.data, plan->y,
                  &plan->algorithm, workspace.data, workspace.bytes, stream),
        "Matmul");
  }

 private:
  // The library counts matrices by columns: y is outputs x rows = weights^T (inputs x outputs)
  // times x (inputs x rows).
  absl::StatusOr<const Plan*> PlanOf(const PlainProduct& product) {
    Plan& plan = plans_[{product.rows, product.inputs, product.outputs}];
    if (plan.y != nullptr) return &plan;
    RETURN_IF_ERROR(ToStatus(f_.MatmulDescCreate(&plan.description, kCompute32F, CUDA_R_32F),
                             "MatmulDescCreate"));
    RETURN_IF_ERROR(ToStatus(
        f_.MatmulDescSetAttribute(plan.description, kTransposeA, &kTransposed, sizeof(kTransposed)),
        "MatmulDescSetAttribute"));
    RETURN_IF_ERROR(MakeLayout(CUDA_R_16BF, product.inputs, product.outputs, &plan.weights));
    RETURN_IF_ERROR(MakeLayout(CUDA_R_16BF, product.inputs, product.rows, &plan.x));
    Layout y = nullptr;
    RETURN_IF_ERROR(MakeLayout(CUDA_R_32F, product.outputs, product.rows, &y));
    HeuristicResult found = {};
    int count = 0;
    RETURN_IF_ERROR(
        ToStatus(f_.MatmulAlgoGetHeuristic(handle_, plan.description, plan.weights, plan.x, y, y,
                                           preference_, 1, &found, &count),
                 "MatmulAlgoGetHeuristic"));
    if (count == 0) {
      return absl::UnavailableError(absl::StrCat("cuBLASLt has no algorithm for ", product.rows,
                                                 " rows of ", product.inputs, " inputs and ",
                                                 product.outputs, " outputs"));
    }
    plan.algorithm = found.algorithm;
    plan.y = y;
    return &plan;
  }

  absl::Status MakeLayout(cudaDataType type, uint64_t rows, uint64_t columns, Layout* layout) {
    return ToStatus(f_.MatrixLayoutCreate(layout, type, rows, columns, static_cast<int64_t>(rows)),
                    "MatrixLayoutCreate");
  }

  Functions f_;
  Handle handle_ = nullptr;          // for as long as the process lives, as the library itself
  Preference preference_ = nullptr;  // likewise
  std::map<std::tuple<uint32_t, uint32_t, uint32_t>, Plan> plans_;  // by rows, inputs, outputs
};

}  // namespace

absl::StatusOr<std::unique_ptr<CublasLt>> CublasLt::Load() {
  auto loaded = std::make_unique<LoadedCublasLt>();
  if (const absl::Status opened = loaded->Open(); !opened.ok()) {
    return absl::FailedPreconditionError(opened.message());
  }
  return loaded;
}

}  // namespace recurve::cuda
