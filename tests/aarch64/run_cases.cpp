// Runs HasteConv cases through the C API on the processor it is compiled for, and writes what came out; the test that
// wrote the cases compares. One process for all cases: starting an emulator is slow.
//
//   run_cases LIBRARY CASE...      reads CASE, writes CASE.<isa> for every instruction set of the library
//
// CASE: haste_conv_params, then 13 int64 (batch, height, width, hyperplanes, use residual, use labels, and the element
// counts of x, weights, bias, hyperplanes, residual, y, codes), a float tau and 4 bytes of padding, then x, weights,
// bias, hyperplanes (int8), residual and labels. CASE.<isa>: codes (uint32), y, stats (8 floats).
#include <dlfcn.h>
#include <haste/haste.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

struct Header {
  haste_conv_params params;
  int64_t batch, height, width, hyperplanes, has_residual, has_labels;
  int64_t x, weights, bias, planes, residual, y, codes;
  float tau;
  int32_t padding;
};

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "run_cases: %s\n", what.c_str());
  std::exit(1);
}

void* library = nullptr;

template <typename Function>
Function* function(const char* name) {
  void* found = dlsym(library, name);
  if (!found) die(dlerror());
  return reinterpret_cast<Function*>(found);
}

void check(haste_status status, const std::string& where) {
  if (status != HASTE_OK) die(where + ": " + function<decltype(haste_error_message)>("haste_error_message")());
}

template <typename T>
std::vector<T> read(std::FILE* file, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  if (std::fread(values.data(), sizeof(T), values.size(), file) != values.size()) die("a case ends too early");
  return values;
}

void run(const std::string& path, const char* isa) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) die(path + ": cannot be read");
  const Header h = read<Header>(file, 1)[0];
  const std::vector<float> x = read<float>(file, h.x);
  const int64_t weight_size = h.params.weight_type == HASTE_WEIGHTS_FLOAT16 ? 2 : 4;
  const std::vector<char> weights = read<char>(file, h.weights * weight_size);
  const std::vector<float> bias = read<float>(file, h.bias);
  const std::vector<int8_t> planes = read<int8_t>(file, h.planes);
  const std::vector<float> residual = read<float>(file, h.residual);
  const std::vector<uint32_t> labels = read<uint32_t>(file, h.has_labels ? h.codes : 0);
  std::fclose(file);

  check(function<decltype(haste_select_isa)>("haste_select_isa")(isa), isa);
  haste_conv* conv = nullptr;
  check(function<decltype(haste_conv_create)>("haste_conv_create")(&h.params, weights.data(), bias.data(),
                                                                   planes.data(), &conv),
        path);
  std::vector<uint32_t> codes(static_cast<size_t>(h.codes));
  codes.reserve(1);  // an empty batch has no codes, but the interface wants a pointer
  std::vector<float> y(static_cast<size_t>(h.y)), stats(HASTE_STATS);
  haste_conv_run_args args{};
  args.x = x.data();
  args.batch = h.batch, args.height = h.height, args.width = h.width;
  args.hyperplanes = h.hyperplanes;
  args.tau = h.tau;
  args.z = h.has_residual ? residual.data() : nullptr;
  args.y = y.data();
  if (h.has_labels) {
    codes = labels;
    check(function<decltype(haste_conv_run_grouped)>("haste_conv_run_grouped")(conv, &args, labels.data()), path);
  } else {
    if (h.hyperplanes > 0)
      check(function<decltype(haste_conv_codes)>("haste_conv_codes")(conv, &args, codes.data()), path);
    args.stats = stats.data();
    check(function<decltype(haste_conv_run)>("haste_conv_run")(conv, &args), path);
  }
  function<decltype(haste_conv_destroy)>("haste_conv_destroy")(conv);

  file = std::fopen((path + "." + isa).c_str(), "wb");
  if (!file) die(path + ": cannot be written");
  std::fwrite(codes.data(), sizeof(uint32_t), codes.size(), file);
  std::fwrite(y.data(), sizeof(float), y.size(), file);
  std::fwrite(stats.data(), sizeof(float), stats.size(), file);
  std::fclose(file);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) die("usage: run_cases LIBRARY CASE...");
  library = dlopen(argv[1], RTLD_NOW);
  if (!library) die(dlerror());
  const char* const* isas = function<decltype(haste_available_isas)>("haste_available_isas")();
  for (const char* const* isa = isas; *isa; isa++) {
    std::puts(*isa);
    for (int i = 2; i < argc; i++) run(argv[i], *isa);
  }
}
