// Times the stages of HasteConv one by one:
// haste-bench-kernels [SHAPES] [--isa NAME] [--hyperplanes L] [--weights float32|fp16] [--patch P]
//
// Prints, per layer of a text file of shapes: nanoseconds per patch of each stage; for the convolution also the rate as
// the direct convolution of the merged channels would count it (2 * taps * P * P per bucket and output channel, plus
// the merge), its share of this core's measured multiply-add peak, and the bytes of weights it reads.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

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

struct Rate {
  double nanoseconds, flops, bytes;  // per patch
};

Rate convolution(Layer& layer) {
  const haste::Geometry& g = layer.geometry();
  const double time = seconds([&] { layer.convolve(); }) / layer.tile();
  const double filters = static_cast<double>(g.blocks_out) * haste::kBlock, taps = g.taps();
  const double flops = filters * taps * (2.0 * g.patch * g.patch * layer.buckets() + 2 * layer.members());
  const double block_bytes = static_cast<double>(layer.block_bytes()) / g.channels;
  return {time * 1e9, flops, g.blocks_out * block_bytes * (layer.singles() + layer.members())};
}

void print_convolution(const char* name, const Rate& rate, double peak) {
  std::printf("  %-22s %9.0f ns %7.1f GFLOP/s %5.0f %% of peak %7.1f GB/s\n", name, rate.nanoseconds,
              rate.flops / rate.nanoseconds, 100 * rate.flops / rate.nanoseconds / (peak * 1e-9),
              rate.bytes / rate.nanoseconds);
}

void bench(const Shape& shape, const Options& options, double peak) {
  Layer layer(shape, options.patch, options.hyperplanes, 0.5, options.weights);
  std::printf("%d -> %d, %dx%d, kernel %dx%d, patch %d\n", shape.channels, shape.filters, shape.height, shape.width,
              shape.kernel_h, shape.kernel_w, layer.geometry().patch);
  const int group = layer.group();
  const double gather = seconds([&] { layer.hash(0); }) / group;
  const double hash = seconds([&] { layer.hash(options.hyperplanes); }) / group;
  const double merge = seconds([&] { layer.merge(false); }) / layer.tile();
  std::printf(
      "  %-22s %9.0f ns\n  %-22s %9.0f ns\n  %-22s %9.0f ns  (%.0f buckets, %.0f members merged of %d channels)\n",
      "gather", gather * 1e9, "hash", (hash - gather) * 1e9, "group and merge", merge * 1e9, layer.buckets(),
      layer.members(), shape.channels);
  const Rate hashed = convolution(layer);
  print_convolution("convolve as hashed", hashed, peak);
  std::printf("  %-22s %9.0f %%\n", "overhead",
              100 * (hash + merge) * 1e9 / ((hash + merge) * 1e9 + hashed.nanoseconds));
  for (const int members : {1, 2, 4}) {
    if (shape.channels % members) continue;
    layer.regular_buckets(members);
    char name[32];
    std::snprintf(name, sizeof name, "convolve, %d a bucket", members);
    print_convolution(name, convolution(layer), peak);
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
    bench(shape, options, peak);
  }
  return 0;
}
