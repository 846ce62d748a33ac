#include "session.h"

#include <unistd.h>

#include <algorithm>

#include "npy.h"

namespace haste::runner {
namespace {

constexpr int kInt64 = 7;

const Declared* find(const std::vector<Declared>& all, const std::string& name) {
  for (const Declared& one : all)
    if (one.name == name) return &one;
  return nullptr;
}

std::string names_of(const std::vector<Declared>& all) {
  std::string text;
  for (const Declared& one : all) text += (text.empty() ? "" : ", ") + one.name;
  return text.empty() ? "none" : text;
}

// The value for `name`; the key "" stands for the only input.
template <typename Map>
const typename Map::mapped_type* option_for(const Map& map, const std::string& name, bool only_input) {
  auto found = map.find(name);
  if (found == map.end() && only_input) found = map.find("");
  return found == map.end() ? nullptr : &found->second;
}

// A wrong name must not go unnoticed: the run would silently use random values.
template <typename Map>
void check_names(const Map& map, const std::vector<Declared>& known, const char* option) {
  for (const auto& entry : map) {
    if (entry.first.empty() ? known.size() != 1 : !find(known, entry.first))
      throw Error(kUsage, std::string(option) + ": the model has no " +
                              (entry.first.empty() ? "single tensor" : entry.first) + " to apply this to (" +
                              names_of(known) + ")");
  }
}

bool matches(const std::vector<std::int64_t>& declared, const std::vector<std::int64_t>& given) {
  return declared.size() == given.size() &&
         std::equal(declared.begin(), declared.end(), given.begin(), [](auto d, auto g) { return d < 0 || d == g; });
}

}  // namespace

Session::Session(const OnnxRuntime& runtime, const DynamicLibrary& library, const Options& options)
    : api_(runtime.table) {
  if (access(options.model.c_str(), R_OK) != 0) throw Error(kUsage, options.model + ": cannot be read");
  check(api_.default_allocator(&allocator_), kEnvironment, "allocator");
  check(api_.create_env(ort::kLogNothing, "haste-run", &env_), kEnvironment, "environment");
  // A measurement must not depend on when the runtime decides to report home; nor should a device do that unasked.
  check(api_.disable_telemetry(env_), kEnvironment, "telemetry");
  check(api_.cpu_memory_info(ort::kArenaAllocator, ort::kDefaultMemory, &memory_), kEnvironment, "memory info");

  ort::SessionOptions* session_options = nullptr;
  check(api_.create_options(&session_options), kEnvironment, "session options");
  const std::unique_ptr<ort::SessionOptions, decltype(api_.release_options)> guard(session_options,
                                                                                   api_.release_options);
  check(api_.set_intra_threads(session_options, options.threads), kEnvironment, "threads");
  check(api_.set_inter_threads(session_options, 1), kEnvironment, "threads");
  check(api_.set_optimization(session_options, options.optimize ? ort::kOptimizeAll : ort::kOptimizeNothing),
        kEnvironment, "optimisation level");
  if (library.open())
    check(api_.register_library(session_options, library.path().c_str()), kEnvironment, library.path());
  check(api_.create_session(env_, options.model.c_str(), session_options, &session_), kCheckFailed, options.model);

  inputs_ = declared(true);
  outputs_ = declared(false);
  overridable_ = overridable();
  for (const Declared& output : outputs_) output_name_pointers_.push_back(output.name.c_str());
  output_values_.assign(outputs_.size(), nullptr);
  check_names(options.outputs, outputs_, "--output");
  feed(options);
}

Session::~Session() {
  release_outputs();
  for (ort::Value* value : fed_values_) api_.release_value(value);
  if (session_) api_.release_session(session_);
  if (memory_) api_.release_memory_info(memory_);
  if (env_) api_.release_env(env_);
}

void Session::check(ort::Status* status, ExitCode code, const std::string& what) const {
  if (!status) return;
  const std::string message = api_.error_message(status);
  const int error = api_.error_code(status);
  api_.release_status(status);
  const bool unreadable = error == ort::kNoSuchFile || error == ort::kNoModel || error == ort::kInvalidProtobuf;
  throw Error(unreadable ? kUsage : code, what + ": " + message);
}

std::string Session::take_name(char* name) const {
  const std::string text = name;
  check(api_.allocator_free(allocator_, name), kEnvironment, "allocator");
  return text;
}

Declared Session::describe(const char* name, ort::TypeInfo* type) const {
  Declared one{name, 0, {}};
  const ort::TensorInfo* tensor = nullptr;
  check(api_.cast_to_tensor(type, &tensor), kEnvironment, name);
  if (tensor) {
    std::size_t rank = 0;
    check(api_.element_type(tensor, &one.element_type), kEnvironment, name);
    check(api_.rank(tensor, &rank), kEnvironment, name);
    one.shape.resize(rank);
    check(api_.dimensions(tensor, one.shape.data(), rank), kEnvironment, name);
  }
  api_.release_type_info(type);
  return one;
}

std::vector<Declared> Session::declared(bool is_input) const {
  std::size_t count = 0;
  check(is_input ? api_.input_count(session_, &count) : api_.output_count(session_, &count), kEnvironment, "model");
  std::vector<Declared> all;
  for (std::size_t i = 0; i < count; i++) {
    char* name = nullptr;
    ort::TypeInfo* type = nullptr;
    check(is_input ? api_.input_name(session_, i, allocator_, &name) : api_.output_name(session_, i, allocator_, &name),
          kEnvironment, "model");
    const std::string text = take_name(name);
    check(is_input ? api_.input_type(session_, i, &type) : api_.output_type(session_, i, &type), kEnvironment, text);
    all.push_back(describe(text.c_str(), type));
  }
  return all;
}

std::vector<Declared> Session::overridable() const {
  std::size_t count = 0;
  check(api_.overridable_count(session_, &count), kEnvironment, "model");
  std::vector<Declared> all;
  for (std::size_t i = 0; i < count; i++) {
    char* name = nullptr;
    ort::TypeInfo* type = nullptr;
    check(api_.overridable_name(session_, i, allocator_, &name), kEnvironment, "model");
    const std::string text = take_name(name);
    check(api_.overridable_type(session_, i, &type), kEnvironment, text);
    all.push_back(describe(text.c_str(), type));
  }
  return all;
}

void Session::bind(const std::string& name, Tensor tensor) {
  tensors_.push_back(std::make_unique<Tensor>(std::move(tensor)));
  Tensor& kept = *tensors_.back();
  ort::Value* value = nullptr;
  check(api_.create_tensor(memory_, kept.data(), kept.bytes, kept.shape.data(), kept.shape.size(), kept.type->onnx,
                           &value),
        kUsage, name);
  fed_names_.push_back(name);
  fed_values_.push_back(value);
}

void Session::feed(const Options& options) {
  check_names(options.inputs, inputs_, "--input");
  check_names(options.shapes, inputs_, "--input-shape");
  const bool only = inputs_.size() == 1;
  for (std::size_t i = 0; i < inputs_.size(); i++) {
    const Declared& input = inputs_[i];
    const ElementType* type = element_type(input.element_type);
    if (!type) throw Error(kUsage, "input " + input.name + ": has a type that haste-run cannot feed");
    std::vector<std::int64_t> shape = input.shape;
    if (const auto* given = option_for(options.shapes, input.name, only)) {
      if (!matches(input.shape, *given))
        throw Error(kUsage, "--input-shape " + input.name + ":" + shape_text(*given) + ": the model declares " +
                                shape_text(shape));
      shape = *given;
    }
    const std::string* file = option_for(options.inputs, input.name, only);
    if (file && is_npy(*file)) {
      Tensor tensor = read_npy(*file);
      if (tensor.type != type || !matches(shape, tensor.shape))
        throw Error(kUsage, *file + ": is " + tensor.type->name + " " + shape_text(tensor.shape) + ", but input " +
                                input.name + " is " + type->name + " " + shape_text(shape));
      bind(input.name, std::move(tensor));
      continue;
    }
    // An open first size is the batch: one. Any other is for the user to say.
    if (!shape.empty() && shape[0] < 0) shape[0] = 1;
    if (std::any_of(shape.begin(), shape.end(), [](auto size) { return size < 0; }))
      throw Error(kUsage, "input " + input.name + " is declared " + shape_text(input.shape) + ": give --input-shape " +
                              input.name + ":...");
    if (file) {
      bind(input.name, read_raw(*file, *type, shape));
      continue;
    }
    Tensor tensor = make_tensor(*type, shape);
    fill_random(tensor, options.seed + i);
    bind(input.name, std::move(tensor));
  }
  if (options.hyperplanes) feed_scalar("haste_hyperplanes", *options.hyperplanes);
  if (options.level) feed_scalar("haste_level", *options.level);
  for (const std::string& name : fed_names_) fed_name_pointers_.push_back(name.c_str());
}

void Session::feed_scalar(const std::string& name, std::int64_t value) {
  const Declared* target = find(overridable_, name);
  if (!target)
    throw Error(kUsage, "the model cannot be steered by " + name +
                            " (overridable initializers: " + names_of(overridable_) + ")");
  if (target->element_type != kInt64) throw Error(kUsage, name + " is not an int64 tensor");
  Tensor tensor = make_tensor(*element_type(kInt64), target->shape);
  if (tensor.bytes != sizeof value) throw Error(kUsage, name + " is not a scalar");
  *reinterpret_cast<std::int64_t*>(tensor.data()) = value;
  bind(name, std::move(tensor));
}

void Session::release_outputs() {
  for (ort::Value*& value : output_values_) {
    if (value) api_.release_value(value);
    value = nullptr;
  }
}

void Session::run() {
  release_outputs();
  check(api_.run(session_, nullptr, fed_name_pointers_.data(), fed_values_.data(), fed_values_.size(),
                 output_name_pointers_.data(), output_name_pointers_.size(), output_values_.data()),
        kCheckFailed, "run");
}

std::vector<Output> Session::outputs() const {
  std::vector<Output> all;
  for (std::size_t i = 0; i < outputs_.size(); i++) {
    if (!outputs_[i].element_type || !output_values_[i]) continue;
    ort::TensorInfo* info = nullptr;
    std::size_t rank = 0;
    int type = 0;
    void* data = nullptr;
    check(api_.tensor_info(output_values_[i], &info), kEnvironment, outputs_[i].name);
    check(api_.rank(info, &rank), kEnvironment, outputs_[i].name);
    std::vector<std::int64_t> shape(rank);
    check(api_.dimensions(info, shape.data(), rank), kEnvironment, outputs_[i].name);
    check(api_.element_type(info, &type), kEnvironment, outputs_[i].name);
    api_.release_tensor_info(info);
    const ElementType* known = element_type(type);
    if (known) check(api_.tensor_data(output_values_[i], &data), kEnvironment, outputs_[i].name);
    all.push_back({outputs_[i].name, known, shape, data});
  }
  return all;
}

}  // namespace haste::runner
