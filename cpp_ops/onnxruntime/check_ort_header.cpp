// Compares ort_api.h with ONNX Runtime's own header, where the build was given it.

#ifdef HASTE_CHECK_ORT_HEADER

#include <onnxruntime_c_api.h>

#include <type_traits>

#define ORT_OK HASTE_ORT_OK
#include "ort_api.h"
#undef ORT_OK

namespace {

using haste::ort::Api;
using haste::ort::CustomOp;

// Enums of the official header are plain ints in ours; everything else must be the same type.
template <typename T>
struct Plain {
  using type = std::conditional_t<std::is_enum_v<T>, int, T>;
};
template <typename T>
struct Plain<T*> {
  using type = std::conditional_t<std::is_enum_v<T>, int, T>*;
};
template <typename F>
struct Signature;
template <typename R, typename... A>
struct Signature<R (*)(A...)> {
  using type = typename Plain<R>::type (*)(typename Plain<A>::type...);
};
template <typename R, typename... A>
struct Signature<R (*)(A...) noexcept> : Signature<R (*)(A...)> {};

#define HASTE_CHECK_INDEX(index, name, result, arguments) \
  static_assert(offsetof(::OrtApi, name) == (index) * sizeof(void*), "slot of " #name);
HASTE_ORT_SLOTS(HASTE_CHECK_INDEX)

#define HASTE_SAME_TYPE(name)                                                                                    \
  static_assert(std::is_same_v<Signature<decltype(::OrtApi::name)>::type, Signature<decltype(Api::name)>::type>, \
                "type of " #name);
HASTE_SAME_TYPE(GetErrorMessage)
HASTE_SAME_TYPE(CreateCustomOpDomain)
HASTE_SAME_TYPE(GetTensorMutableData)
HASTE_SAME_TYPE(GetDimensionsCount)
HASTE_SAME_TYPE(GetDimensions)
HASTE_SAME_TYPE(GetTensorTypeAndShape)
HASTE_SAME_TYPE(KernelInfoGetAttribute_int64)
HASTE_SAME_TYPE(KernelInfoGetAttribute_string)
HASTE_SAME_TYPE(KernelContext_GetInput)
HASTE_SAME_TYPE(KernelContext_GetOutput)
HASTE_SAME_TYPE(KernelContext_GetGPUComputeStream)
HASTE_SAME_TYPE(KernelInfoGetAttributeArray_float)
HASTE_SAME_TYPE(KernelInfoGetAttributeArray_int64)
HASTE_SAME_TYPE(KernelInfo_GetNodeName)
HASTE_SAME_TYPE(KernelInfoGetConstantInput_tensor)
HASTE_SAME_TYPE(KernelContext_ParallelFor)

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
