// Compares ort_api.h with ONNX Runtime's own header, where the build was given it.

#ifdef HASTE_CHECK_ORT_HEADER

#include <onnxruntime_c_api.h>

#include <type_traits>

#define ORT_OK HASTE_ORT_OK
#include "ort_api.h"
#undef ORT_OK

// A type as a template argument has no attributes, so warn_unused_result is no part of what is compared.
#pragma GCC diagnostic ignored "-Wignored-attributes"

namespace {

using haste::ort::Api;
using haste::ort::CustomOp;

// Enums of the official header are plain ints in ours; everything but that and operators must be the same type.
template <typename T>
struct Plain {
  using type = std::conditional_t<std::is_enum_v<T>, int, T>;
};
template <typename T>
struct Plain<T*> {
  using type = std::conditional_t<std::is_enum_v<T>, int, T>*;
};
// An operator is declared anew in ours, and handed over as void.
template <>
struct Plain<const ::OrtCustomOp*> {
  using type = const void*;
};
template <typename F>
struct Signature;
template <typename R, typename... A>
struct Signature<R (*)(A...)> {
  using type = typename Plain<R>::type (*)(typename Plain<A>::type...);
};
template <typename R, typename... A>
struct Signature<R (*)(A...) noexcept> : Signature<R (*)(A...)> {};

#define HASTE_CHECK_SLOT(index, name, result, arguments)                                                         \
  static_assert(offsetof(::OrtApi, name) == (index) * sizeof(void*), "slot of " #name);                          \
  static_assert(std::is_same_v<Signature<decltype(::OrtApi::name)>::type, Signature<decltype(Api::name)>::type>, \
                "type of " #name);
HASTE_ORT_SLOTS(HASTE_CHECK_SLOT)

#define HASTE_CHECK_MEMBER(name) \
  static_assert(offsetof(::OrtCustomOp, name) == offsetof(CustomOp, name), "place of " #name);
HASTE_CHECK_MEMBER(CreateKernel)
HASTE_CHECK_MEMBER(GetName)
HASTE_CHECK_MEMBER(GetExecutionProviderType)
HASTE_CHECK_MEMBER(GetInputType)
HASTE_CHECK_MEMBER(GetInputTypeCount)
HASTE_CHECK_MEMBER(GetOutputType)
HASTE_CHECK_MEMBER(GetOutputTypeCount)
HASTE_CHECK_MEMBER(KernelCompute)
HASTE_CHECK_MEMBER(KernelDestroy)
HASTE_CHECK_MEMBER(GetInputCharacteristic)
HASTE_CHECK_MEMBER(GetOutputCharacteristic)
HASTE_CHECK_MEMBER(GetInputMemoryType)
HASTE_CHECK_MEMBER(CreateKernelV2)
HASTE_CHECK_MEMBER(KernelComputeV2)
HASTE_CHECK_MEMBER(InferOutputShapeFn)
HASTE_CHECK_MEMBER(GetStartVersion)
HASTE_CHECK_MEMBER(GetEndVersion)

}  // namespace

#endif  // HASTE_CHECK_ORT_HEADER
