// Compares the slots of ort_host_api.h with ONNX Runtime's own header, where a build is given one
// (-DHASTE_ORT_INCLUDE_DIR=).
#include <onnxruntime_c_api.h>

#include <cstddef>

#include "ort_host_api.h"

namespace haste::runner::ort {

#define HASTE_CHECK_SLOT(ours, official)                                                   \
  static_assert(decltype(Api::ours)::kIndex == offsetof(OrtApi, official) / sizeof(void*), \
                #ours " is not the slot of " #official)

HASTE_CHECK_SLOT(error_code, GetErrorCode);
HASTE_CHECK_SLOT(error_message, GetErrorMessage);
HASTE_CHECK_SLOT(create_env, CreateEnv);
HASTE_CHECK_SLOT(disable_telemetry, DisableTelemetryEvents);
HASTE_CHECK_SLOT(create_session, CreateSession);
HASTE_CHECK_SLOT(run, Run);
HASTE_CHECK_SLOT(create_options, CreateSessionOptions);
HASTE_CHECK_SLOT(set_optimization, SetSessionGraphOptimizationLevel);
HASTE_CHECK_SLOT(set_intra_threads, SetIntraOpNumThreads);
HASTE_CHECK_SLOT(set_inter_threads, SetInterOpNumThreads);
HASTE_CHECK_SLOT(input_count, SessionGetInputCount);
HASTE_CHECK_SLOT(output_count, SessionGetOutputCount);
HASTE_CHECK_SLOT(overridable_count, SessionGetOverridableInitializerCount);
HASTE_CHECK_SLOT(input_type, SessionGetInputTypeInfo);
HASTE_CHECK_SLOT(output_type, SessionGetOutputTypeInfo);
HASTE_CHECK_SLOT(overridable_type, SessionGetOverridableInitializerTypeInfo);
HASTE_CHECK_SLOT(input_name, SessionGetInputName);
HASTE_CHECK_SLOT(output_name, SessionGetOutputName);
HASTE_CHECK_SLOT(overridable_name, SessionGetOverridableInitializerName);
HASTE_CHECK_SLOT(create_tensor, CreateTensorWithDataAsOrtValue);
HASTE_CHECK_SLOT(tensor_data, GetTensorMutableData);
HASTE_CHECK_SLOT(cast_to_tensor, CastTypeInfoToTensorInfo);
HASTE_CHECK_SLOT(element_type, GetTensorElementType);
HASTE_CHECK_SLOT(rank, GetDimensionsCount);
HASTE_CHECK_SLOT(dimensions, GetDimensions);
HASTE_CHECK_SLOT(element_count, GetTensorShapeElementCount);
HASTE_CHECK_SLOT(tensor_info, GetTensorTypeAndShape);
HASTE_CHECK_SLOT(cpu_memory_info, CreateCpuMemoryInfo);
HASTE_CHECK_SLOT(allocator_free, AllocatorFree);
HASTE_CHECK_SLOT(default_allocator, GetAllocatorWithDefaultOptions);
HASTE_CHECK_SLOT(release_env, ReleaseEnv);
HASTE_CHECK_SLOT(release_status, ReleaseStatus);
HASTE_CHECK_SLOT(release_memory_info, ReleaseMemoryInfo);
HASTE_CHECK_SLOT(release_session, ReleaseSession);
HASTE_CHECK_SLOT(release_value, ReleaseValue);
HASTE_CHECK_SLOT(release_type_info, ReleaseTypeInfo);
HASTE_CHECK_SLOT(release_tensor_info, ReleaseTensorTypeAndShapeInfo);
HASTE_CHECK_SLOT(release_options, ReleaseSessionOptions);
HASTE_CHECK_SLOT(add_config_entry, AddSessionConfigEntry);
HASTE_CHECK_SLOT(register_library, RegisterCustomOpsLibrary_V2);

}  // namespace haste::runner::ort
