#include "dynamic_library.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <vector>

#include "error.h"

namespace haste::runner {
namespace {

std::string own_folder() {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  if (length <= 0) return ".";
  const std::string text(path, static_cast<std::size_t>(length));
  const std::size_t slash = text.rfind('/');
  return slash == std::string::npos ? "." : text.substr(0, slash);
}

std::vector<std::string> library_folders() {
  return {own_folder(), own_folder() + "/../lib", own_folder() + "/lib"};
}

std::string environment(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

// Files of `folder` named libonnxruntime.so or libonnxruntime.so.<version>, the shortest name first.
std::vector<std::string> runtimes_in(const std::string& folder) {
  std::vector<std::string> names;
  if (DIR* directory = opendir(folder.c_str())) {
    while (const dirent* entry = readdir(directory)) {
      const std::string name = entry->d_name;
      if (name.rfind("libonnxruntime.so", 0) == 0) names.push_back(name);
    }
    closedir(directory);
  }
  std::sort(names.begin(), names.end());
  for (std::string& name : names) name = folder + "/" + name;
  return names;
}

OnnxRuntime connect(DynamicLibrary library) {
  using GetApiBase = const ort::ApiBase* (*)();
  const auto get_api_base = reinterpret_cast<GetApiBase>(library.symbol("OrtGetApiBase"));
  if (!get_api_base) throw Error(kEnvironment, library.path() + ": not an ONNX Runtime library (no OrtGetApiBase)");
  const ort::ApiBase* base = get_api_base();
  const std::string version = base->version();
  const ort::Table table = base->get_api(ort::kApiVersion);
  if (!table)
    throw Error(kEnvironment, library.path() + ": ONNX Runtime " + version + " is too old; 1.17 or newer is needed");
  return {std::move(library), table, version};
}

}  // namespace

DynamicLibrary::DynamicLibrary(const std::string& path)
    : path_(path), handle_(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (!handle_) throw Error(kEnvironment, dlerror());
}

void* DynamicLibrary::symbol(const char* name) const {
  return handle_ ? dlsym(handle_, name) : nullptr;
}

OnnxRuntime load_onnxruntime(const std::string& option) {
  const std::string named = option.empty() ? environment("HASTE_ONNXRUNTIME") : option;
  if (!named.empty()) return connect(DynamicLibrary(named));
  std::vector<std::string> candidates;
  for (const std::string& folder : library_folders())
    for (const std::string& path : runtimes_in(folder)) candidates.push_back(path);
  candidates.push_back("libonnxruntime.so");
  candidates.push_back("libonnxruntime.so.1");
  std::string reasons;
  for (const std::string& path : candidates) {
    try {
      return connect(DynamicLibrary(path));
    } catch (const Error& error) {
      reasons += std::string("\n  ") + error.what();
    }
  }
  throw Error(kEnvironment,
              "no ONNX Runtime found; give --onnxruntime PATH or set HASTE_ONNXRUNTIME. Tried:" + reasons);
}

DynamicLibrary load_operator_library(const std::string& option) {
  const std::string named = option.empty() ? environment("HASTE_OPS_LIBRARY") : option;
  if (!named.empty()) {
    // ONNX Runtime opens the library by this path once more; a bare name would send it through the loader's search
    // path.
    return DynamicLibrary(named.find('/') == std::string::npos ? "./" + named : named);
  }
  for (const std::string& folder : library_folders()) {
    const std::string path = folder + "/libhaste_ops.so";
    if (access(path.c_str(), R_OK) == 0) return DynamicLibrary(path);
  }
  return {};
}

}  // namespace haste::runner
