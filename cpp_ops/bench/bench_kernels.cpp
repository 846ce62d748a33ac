// Times the stages of HasteConv one by one:
// haste-bench-kernels [SHAPES] [--isa NAME] [--hyperplanes L] [--weights float32|fp16] [--patch P]
//
// Prints, per layer of a text file of shapes: nanoseconds per patch of each stage, of one chunk as the library makes
// them; for the convolution also the rate as the direct convolution of the merged channels would count it (2 * taps per
// bucket, output channel and pixel, plus the merge), its share of this core's measured multiply-add peak, and the bytes
// of weights it reads; and nanoseconds per patch of the whole layer, which has its first chunk, its edges, and another
// order of work where slices of the weights stay in the cache.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <sstream>
#include <string>

#include "dispatch.h"
#include "layer.h"

namespace {

using haste::bench::Layer;
using haste::bench::Shape;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The best of many short runs: other programs can only make a run slower.
template <typename Body>
double seconds(Body body) {
  body();
  double best = 1e30, spent = 0;
  for (int i = 0; i < 2000 && (spent < 0.2 || i < 5); i++) {
    const double start = now();
    body();
    const double took = now() - start;
    best = std::min(best, took);
    spent += took;
  }
  return best;
}

struct Options {
  std::string shapes = "cpp_ops/bench/shapes.txt", isa;
  int hyperplanes = 14, patch = 0;
  haste_weight_type weights = HASTE_WEIGHTS_FLOAT32;
};

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; i++) {
    const std::string arg = argv[i];
    if (arg == "--isa" && i + 1 < argc)
      options.isa = argv[++i];
    else if (arg == "--hyperplanes" && i + 1 < argc)
      options.hyperplanes = std::atoi(argv[++i]);
    else if (arg == "--patch" && i + 1 < argc)
      options.patch = std::atoi(argv[++i]);
    else if (arg == "--weights" && i + 1 < argc && !std::strcmp(argv[i + 1], "fp16"))
      options.weights = HASTE_WEIGHTS_FLOAT16, i++;
    else if (arg == "--weights" && i + 1 < argc && !std::strcmp(argv[i + 1], "float32"))
      options.weights = HASTE_WEIGHTS_FLOAT32, i++;
    else if (arg.rfind("--", 0) == 0)
      return false;
    else
      options.shapes = arg;
  }
  return options.hyperplanes >= 1 && options.hyperplanes <= HASTE_MAX_HYPERPLANES && options.patch >= 0;
}

// Of one patch.
double nanoseconds(Layer& layer, void (Layer::*stage)()) {
  return seconds([&] { (layer.*stage)(); }) / layer.patches() * 1e9;
}

// Times the convolution of the chunk that was prepared last, and prints it.
double print_convolution(const char* name, Layer& layer, double peak) {
  const double time = nanoseconds(layer, &Layer::convolve);
  const haste::bench::Work work = layer.work();
  std::printf("  %-22s %9.0f ns %7.1f GFLOP/s %5.0f %% of peak %7.1f GB/s\n", name, time, work.flops / time,
              100 * work.flops / time / (peak * 1e-9), work.weight_bytes / time);
  return time;
}

void print_time(const char* name, double time) {
  std::printf("  %-22s %9.0f ns\n", name, time);
}

void bench(const Shape& shape, const Options& options, double peak) {
  Layer layer(shape, options.patch, options.hyperplanes, 0.5, options.weights);
  const double whole = seconds([&] { layer.run(); }) / static_cast<double>(layer.all_patches()) * 1e9;
  const double gathered = nanoseconds(layer, &Layer::gather);
  const double hashed = nanoseconds(layer, &Layer::gather_and_hash);
  const double prepared = nanoseconds(layer, &Layer::prepare);
  const haste::bench::Work work = layer.work();
  std::printf("%d -> %d, %dx%d, kernel %dx%d, patch %d: %d of %lld patches, %.0f buckets, %.0f members merged\n",
              shape.channels, shape.filters, shape.height, shape.width, shape.kernel_h, shape.kernel_w,
              layer.geometry().patch, layer.patches(), static_cast<long long>(layer.all_patches()), work.buckets,
              work.members);
  print_time("gather", gathered);
  print_time("hash", hashed - gathered);
  print_time("group and merge", prepared - hashed);
  const double convolved = print_convolution("convolve as hashed", layer, peak);
  std::printf("  %-22s %9.0f %%\n", "overhead", 100 * prepared / (prepared + convolved));
  print_time("the whole layer", whole);
  for (const int members : {1, 2, 4}) {
    if (shape.channels % members) continue;
    layer.prepare_buckets_of(members);
    char name[32];
    std::snprintf(name, sizeof name, "convolve, %d a bucket", members);
    print_convolution(name, layer, peak);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fprintf(stderr, "usage: %s [SHAPES] [--isa NAME] [--hyperplanes 1..%d] [--weights float32|fp16] [--patch P]\n",
                 argv[0], HASTE_MAX_HYPERPLANES);
    return 2;
  }
  if (!options.isa.empty() && haste_select_isa(options.isa.c_str())) {
    std::fprintf(stderr, "%s\n", haste_error_message());
    return 2;
  }
  std::ifstream file(options.shapes);
  if (!file) {
    std::fprintf(stderr, "cannot read the shapes file %s\n", options.shapes.c_str());
    return 2;
  }
  const haste::Kernels& kernels = *haste::selected_kernels();
  constexpr int kRounds = 100000;
  const double peak =
      static_cast<double>(kernels.multiply_adds(kRounds)) / seconds([&] { kernels.multiply_adds(kRounds); });
  std::printf("%s: peak of one core %.1f GFLOP/s, L = %d, %s weights\n", kernels.isa, peak * 1e-9, options.hyperplanes,
              options.weights == HASTE_WEIGHTS_FLOAT16 ? "fp16" : "float32");
  for (std::string line; std::getline(file, line);) {
    Shape shape{};
    std::istringstream fields(line);
    if (line.empty() || line[0] == '#') continue;
    if (!(fields >> shape.channels >> shape.filters >> shape.height >> shape.width >> shape.kernel_h >>
          shape.kernel_w)) {
      std::fprintf(stderr, "not a shape (C M H W kernel_h kernel_w): %s\n", line.c_str());
      return 2;
    }
    try {
      bench(shape, options, peak);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: %s\n", line.c_str(), error.what());
      return 2;
    }
  }
  return 0;
}
