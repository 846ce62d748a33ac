// The few slots of ONNX Runtime's append-only C API that the binding uses, so that it builds without the official
// header.
//
// OrtApi is a struct of function pointers that only ever grows; a slot's index never changes. HASTE_ORT_SLOTS names
// each slot we call with its index and type; nothing newer than API 17 (ONNX Runtime 1.17) is in it. A build given the
// official header (-DHASTE_ORT_INCLUDE_DIR=) compares every slot and both structs with it in check_ort_header.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

struct OrtStatus;
struct OrtValue;
struct OrtSessionOptions;
struct OrtCustomOpDomain;
struct OrtTensorTypeAndShapeInfo;
struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtApi;
struct OrtApiBase;

namespace haste::ort {

constexpr uint32_t kApiVersion = 17;

// Values of the official enums, by their official names.
enum ErrorCode { ORT_OK = 0, ORT_FAIL = 1, ORT_INVALID_ARGUMENT = 2, ORT_NOT_IMPLEMENTED = 9 };
enum ElementType {
  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8 = 3,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 = 7,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16 = 10
};
enum Characteristic { INPUT_OUTPUT_REQUIRED = 0, INPUT_OUTPUT_OPTIONAL = 1 };
enum MemoryType { OrtMemTypeCPUInput = -2, OrtMemTypeDefault = 0 };

using ParallelTask = void (*)(void*, size_t);

// slot(index, name, return type, arguments)
// clang-format off
#define HASTE_ORT_SLOTS(slot) \
  slot(0, CreateStatus, OrtStatus*, (int code, const char* message)) \
  slot(2, GetErrorMessage, const char*, (const OrtStatus* status)) \
  slot(26, CreateCustomOpDomain, OrtStatus*, (const char* domain, OrtCustomOpDomain** out)) \
  slot(27, CustomOpDomain_Add, OrtStatus*, (OrtCustomOpDomain* domain, const void* op)) \
  slot(28, AddCustomOpDomain, OrtStatus*, (OrtSessionOptions* options, OrtCustomOpDomain* domain)) \
  slot(51, GetTensorMutableData, OrtStatus*, (OrtValue* value, void** out)) \
  slot(60, GetTensorElementType, OrtStatus*, (const OrtTensorTypeAndShapeInfo* info, int* out)) \
  slot(61, GetDimensionsCount, OrtStatus*, (const OrtTensorTypeAndShapeInfo* info, size_t* out)) \
  slot(62, GetDimensions, OrtStatus*, (const OrtTensorTypeAndShapeInfo* info, int64_t* dims, size_t count)) \
  slot(65, GetTensorTypeAndShape, OrtStatus*, (const OrtValue* value, OrtTensorTypeAndShapeInfo** out)) \
  slot(86, KernelInfoGetAttribute_int64, OrtStatus*, (const OrtKernelInfo* info, const char* name, int64_t* out)) \
  slot(87, KernelInfoGetAttribute_string, OrtStatus*, (const OrtKernelInfo* info, const char* name, char* out, size_t* size)) \
  slot(88, KernelContext_GetInputCount, OrtStatus*, (const OrtKernelContext* context, size_t* out)) \
  slot(89, KernelContext_GetOutputCount, OrtStatus*, (const OrtKernelContext* context, size_t* out)) \
  slot(90, KernelContext_GetInput, OrtStatus*, (const OrtKernelContext* context, size_t index, const OrtValue** out)) \
  slot(91, KernelContext_GetOutput, OrtStatus*, (OrtKernelContext* context, size_t index, const int64_t* dims, size_t count, OrtValue** out)) \
  slot(93, ReleaseStatus, void, (OrtStatus* status)) \
  slot(99, ReleaseTensorTypeAndShapeInfo, void, (OrtTensorTypeAndShapeInfo* info)) \
  slot(162, KernelInfoGetAttributeArray_float, OrtStatus*, (const OrtKernelInfo* info, const char* name, float* out, size_t* size)) \
  slot(163, KernelInfoGetAttributeArray_int64, OrtStatus*, (const OrtKernelInfo* info, const char* name, int64_t* out, size_t* size)) \
  slot(193, KernelContext_GetGPUComputeStream, OrtStatus*, (const OrtKernelContext* context, void** out)) \
  slot(244, KernelInfo_GetNodeName, OrtStatus*, (const OrtKernelInfo* info, char* out, size_t* size)) \
  slot(249, KernelInfoGetConstantInput_tensor, OrtStatus*, (const OrtKernelInfo* info, size_t index, int* is_constant, const OrtValue** out)) \
  slot(274, KernelContext_ParallelFor, OrtStatus*, (const OrtKernelContext* context, ParallelTask task, size_t total, size_t batches, void* state))
// clang-format on

// The slots, copied out of an OrtApi.
struct Api {
#define HASTE_ORT_MEMBER(index, name, result, arguments) result(*name) arguments;
  HASTE_ORT_SLOTS(HASTE_ORT_MEMBER)
#undef HASTE_ORT_MEMBER

  explicit Api(const OrtApi* api) {
    void* const* slots = reinterpret_cast<void* const*>(api);
#define HASTE_ORT_LOAD(index, name, result, arguments) name = reinterpret_cast<decltype(name)>(slots[index]);
    HASTE_ORT_SLOTS(HASTE_ORT_LOAD)
#undef HASTE_ORT_LOAD
  }
};

struct ApiBase {
  const OrtApi* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

// OrtCustomOp of API 17; members after these are never read for an op that declares that version.
struct CustomOp {
  uint32_t version;
  void* (*CreateKernel)(const CustomOp* op, const OrtApi* api, const OrtKernelInfo* info);
  const char* (*GetName)(const CustomOp* op);
  const char* (*GetExecutionProviderType)(const CustomOp* op);
  int (*GetInputType)(const CustomOp* op, size_t index);
  size_t (*GetInputTypeCount)(const CustomOp* op);
  int (*GetOutputType)(const CustomOp* op, size_t index);
  size_t (*GetOutputTypeCount)(const CustomOp* op);
  void (*KernelCompute)(void* kernel, OrtKernelContext* context);
  void (*KernelDestroy)(void* kernel);
  int (*GetInputCharacteristic)(const CustomOp* op, size_t index);
  int (*GetOutputCharacteristic)(const CustomOp* op, size_t index);
  int (*GetInputMemoryType)(const CustomOp* op, size_t index);
  int (*GetVariadicInputMinArity)(const CustomOp* op);
  int (*GetVariadicInputHomogeneity)(const CustomOp* op);
  int (*GetVariadicOutputMinArity)(const CustomOp* op);
  int (*GetVariadicOutputHomogeneity)(const CustomOp* op);
  OrtStatus* (*CreateKernelV2)(const CustomOp* op, const OrtApi* api, const OrtKernelInfo* info, void** kernel);
  OrtStatus* (*KernelComputeV2)(void* kernel, OrtKernelContext* context);
  OrtStatus* (*InferOutputShapeFn)(const CustomOp* op, void* shape_context);
  int (*GetStartVersion)(const CustomOp* op);
  int (*GetEndVersion)(const CustomOp* op);
};

}  // namespace haste::ort
