// The part of ONNX Runtime's C API that a host program needs, declared here because no package carries the header.
//
// OrtApi is an append-only table of function pointers: a slot never moves and never changes its signature, so naming
// the slots in use is enough. All of them exist since ONNX Runtime 1.14 and were run against 1.17 to 1.31.
#ifndef HASTE_RUNNER_ORT_HOST_API_H_
#define HASTE_RUNNER_ORT_HOST_API_H_

#include <cstddef>
#include <cstdint>

namespace haste::runner::ort {

struct Status;
struct Env;
struct Session;
struct SessionOptions;
struct RunOptions;
struct Value;
struct TypeInfo;
struct TensorInfo;
struct MemoryInfo;
struct Allocator;

constexpr std::uint32_t kApiVersion = 17;  // asked for; every later runtime answers with the same table
constexpr int kLogNothing = 4;             // what goes wrong comes back as a status, and is printed once
constexpr int kOptimizeNothing = 0, kOptimizeAll = 99;
constexpr int kNoSuchFile = 3, kNoModel = 4, kInvalidProtobuf = 7;  // error codes
constexpr int kArenaAllocator = 1, kDefaultMemory = 0;

using Table = const void* const*;

struct ApiBase {
  Table (*get_api)(std::uint32_t version);
  const char* (*version)();
};

// One typed slot: calling it calls the runtime's function.
template <std::size_t kSlot, typename Function>
struct Slot;

template <std::size_t kSlot, typename Result, typename... Args>
struct Slot<kSlot, Result(Args...)> {
  static constexpr std::size_t kIndex = kSlot;
  Table table = nullptr;
  Result operator()(Args... args) const {
    return reinterpret_cast<Result (*)(Args...)>(const_cast<void*>(table[kSlot]))(args...);
  }
};

// Strings returned through `char**` were allocated by the allocator given and are freed with allocator_free.
struct Api {
  explicit Api(Table t)
      : error_code{t},
        error_message{t},
        create_env{t},
        disable_telemetry{t},
        create_session{t},
        run{t},
        create_options{t},
        set_optimization{t},
        set_intra_threads{t},
        set_inter_threads{t},
        input_count{t},
        output_count{t},
        overridable_count{t},
        input_type{t},
        output_type{t},
        overridable_type{t},
        input_name{t},
        output_name{t},
        overridable_name{t},
        create_tensor{t},
        tensor_data{t},
        cast_to_tensor{t},
        element_type{t},
        rank{t},
        dimensions{t},
        element_count{t},
        tensor_info{t},
        cpu_memory_info{t},
        allocator_free{t},
        default_allocator{t},
        release_env{t},
        release_status{t},
        release_memory_info{t},
        release_session{t},
        release_value{t},
        release_type_info{t},
        release_tensor_info{t},
        release_options{t},
        add_config_entry{t},
        register_library{t} {}

  Slot<1, int(const Status*)> error_code;
  Slot<2, const char*(const Status*)> error_message;
  Slot<3, Status*(int log_level, const char* id, Env** out)> create_env;
  Slot<6, Status*(const Env*)> disable_telemetry;
  Slot<7, Status*(const Env*, const char* path, const SessionOptions*, Session** out)> create_session;
  Slot<9, Status*(Session*, const RunOptions*, const char* const* input_names, const Value* const* inputs,
                  std::size_t input_count, const char* const* output_names, std::size_t output_count, Value** outputs)>
      run;
  Slot<10, Status*(SessionOptions** out)> create_options;
  Slot<23, Status*(SessionOptions*, int level)> set_optimization;
  Slot<24, Status*(SessionOptions*, int threads)> set_intra_threads;
  Slot<25, Status*(SessionOptions*, int threads)> set_inter_threads;
  Slot<30, Status*(const Session*, std::size_t* out)> input_count;
  Slot<31, Status*(const Session*, std::size_t* out)> output_count;
  Slot<32, Status*(const Session*, std::size_t* out)> overridable_count;
  Slot<33, Status*(const Session*, std::size_t index, TypeInfo** out)> input_type;
  Slot<34, Status*(const Session*, std::size_t index, TypeInfo** out)> output_type;
  Slot<35, Status*(const Session*, std::size_t index, TypeInfo** out)> overridable_type;
  Slot<36, Status*(const Session*, std::size_t index, Allocator*, char** out)> input_name;
  Slot<37, Status*(const Session*, std::size_t index, Allocator*, char** out)> output_name;
  Slot<38, Status*(const Session*, std::size_t index, Allocator*, char** out)> overridable_name;
  Slot<49, Status*(const MemoryInfo*, void* data, std::size_t bytes, const std::int64_t* shape, std::size_t rank,
                   int element_type, Value** out)>
      create_tensor;  // borrows data
  Slot<51, Status*(Value*, void** out)> tensor_data;
  Slot<55, Status*(const TypeInfo*, const TensorInfo** out)> cast_to_tensor;  // borrowed; null if not a tensor
  Slot<60, Status*(const TensorInfo*, int* out)> element_type;
  Slot<61, Status*(const TensorInfo*, std::size_t* out)> rank;
  Slot<62, Status*(const TensorInfo*, std::int64_t* out, std::size_t rank)> dimensions;  // unknown: negative
  Slot<64, Status*(const TensorInfo*, std::size_t* out)> element_count;
  Slot<65, Status*(const Value*, TensorInfo** out)> tensor_info;
  Slot<69, Status*(int allocator_kind, int memory_kind, MemoryInfo** out)> cpu_memory_info;
  Slot<76, Status*(Allocator*, void*)> allocator_free;
  Slot<78, Status*(Allocator** out)> default_allocator;  // owned by the runtime
  Slot<92, void(Env*)> release_env;
  Slot<93, void(Status*)> release_status;
  Slot<94, void(MemoryInfo*)> release_memory_info;
  Slot<95, void(Session*)> release_session;
  Slot<96, void(Value*)> release_value;
  Slot<98, void(TypeInfo*)> release_type_info;
  Slot<99, void(TensorInfo*)> release_tensor_info;
  Slot<100, void(SessionOptions*)> release_options;
  Slot<130, Status*(SessionOptions*, const char* key, const char* value)> add_config_entry;
  Slot<228, Status*(SessionOptions*, const char* path)> register_library;
};

}  // namespace haste::runner::ort

#endif  // HASTE_RUNNER_ORT_HOST_API_H_
