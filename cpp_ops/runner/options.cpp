#include "options.h"

#include <cerrno>
#include <climits>
#include <cstdlib>

#include "error.h"

namespace haste::runner {
namespace {

std::int64_t integer(const std::string& option, const std::string& text, std::int64_t low, std::int64_t high) {
  errno = 0;
  char* end = nullptr;
  const long long value = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end || errno || value < low || value > high)
    throw Error(kUsage,
                option + " " + text + ": not an integer from " + std::to_string(low) + " to " + std::to_string(high));
  return value;
}

// "NAME=FILE", or "FILE" for the only tensor.
void add_file(std::map<std::string, std::string>& files, const std::string& text) {
  const std::size_t equals = text.find('=');
  const std::string name = equals == std::string::npos ? "" : text.substr(0, equals);
  const std::string file = equals == std::string::npos ? text : text.substr(equals + 1);
  if (file.empty()) throw Error(kUsage, text + ": no file named");
  files[name] = file;
}

// "NAME:1,3,224,224"; the name may itself contain colons.
void add_shape(Options& options, const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) throw Error(kUsage, "--input-shape " + text + ": expected NAME:1,3,224,224");
  std::vector<std::int64_t> shape;
  std::size_t begin = colon + 1;
  while (begin < text.size()) {
    std::size_t end = text.find(',', begin);
    if (end == std::string::npos) end = text.size();
    shape.push_back(integer("--input-shape", text.substr(begin, end - begin), 1, INT32_MAX));
    begin = end + 1;
  }
  options.shapes[text.substr(0, colon)] = shape;
}

}  // namespace

Options parse_options(int argc, const char* const* argv) {
  Options options;
  for (int i = 1; i < argc; i++) {
    std::string argument = argv[i], attached;
    bool has_attached = false;
    if (argument.rfind("--", 0) == 0) {
      const std::size_t equals = argument.find('=');
      if (equals != std::string::npos) {
        attached = argument.substr(equals + 1);
        argument.resize(equals);
        has_attached = true;
      }
    }
    const auto value = [&]() -> std::string {
      if (has_attached) return attached;
      if (i + 1 >= argc) throw Error(kUsage, argument + " needs a value");
      return argv[++i];
    };
    const auto number = [&](std::int64_t low, std::int64_t high) { return integer(argument, value(), low, high); };
    if (argument == "--onnxruntime")
      options.onnxruntime = value();
    else if (argument == "--library")
      options.library = value();
    else if (argument == "--no-library")
      options.use_library = false;
    else if (argument == "--require-native")
      options.require_native = true;
    else if (argument == "--input")
      add_file(options.inputs, value());
    else if (argument == "--input-shape")
      add_shape(options, value());
    else if (argument == "--output")
      add_file(options.outputs, value());
    else if (argument == "--seed")
      options.seed = static_cast<std::uint64_t>(number(0, INT64_MAX));
    else if (argument == "--hyperplanes")
      options.hyperplanes = number(INT32_MIN, INT32_MAX);
    else if (argument == "--level")
      options.level = number(0, INT32_MAX);
    else if (argument == "--threads")
      options.threads = static_cast<int>(number(0, 1024));
    else if (argument == "--runs")
      options.runs = static_cast<int>(number(1, 1000000));
    else if (argument == "--warmup")
      options.warmup = static_cast<int>(number(0, 1000000));
    else if (argument == "--evict")
      options.evict_bytes = static_cast<std::uint64_t>(number(0, INT64_MAX));
    else if (argument == "--json")
      options.json = value();
    else if (argument == "--no-optimize")
      options.optimize = false;
    else if (argument == "--lockstep")
      options.lockstep = true;
    else if (argument == "--marks")
      options.marks = true;
    else if (argument == "--help" || argument == "-h")
      options.help = true;
    else if (argument == "--version")
      options.version = true;
    else if (argument.size() > 1 && argument[0] == '-')
      throw Error(kUsage, "unknown option " + argument + " (see --help)");
    else if (options.model.empty())
      options.model = argument;
    else
      throw Error(kUsage, argument + ": only one model can be run (see --help)");
  }
  if (options.model.empty() && !options.help && !options.version) throw Error(kUsage, "no model given (see --help)");
  if (options.lockstep && options.json == "-")
    throw Error(kUsage, "--lockstep speaks on standard output: --json needs a file");
  return options;
}

const char* usage() {
  return "usage: haste-run MODEL.onnx [options]\n"
         "\n"
         "Runs a model with ONNX Runtime and the HasteConv operator library. No Python.\n"
         "\n"
         "  --onnxruntime PATH     libonnxruntime.so (else $HASTE_ONNXRUNTIME, beside haste-run, the loader's path)\n"
         "  --library PATH         libhaste_ops.so (else $HASTE_OPS_LIBRARY, beside haste-run)\n"
         "  --no-library           run without it: HasteConv then runs its exact body\n"
         "  --require-native       exit 1 unless native HasteConv kernels ran\n"
         "  --input [NAME=]FILE    .npy, or raw values in the input's type and shape; without it: random values\n"
         "  --input-shape NAME:1,3,224,224   sizes for an input that leaves them open\n"
         "  --seed N               of the random values (0)\n"
         "  --output [NAME=]FILE   writes an output as .npy\n"
         "  --hyperplanes N        feeds haste_hyperplanes: 0 is exact, fewer compress more\n"
         "  --level N              feeds haste_level, of a tuned model\n"
         "  --threads N            intra-op threads (1; 0: one per core)\n"
         "  --runs N, --warmup N   timed and untimed runs (10, 2)\n"
         "  --evict BYTES          before every run, walk through this many bytes so that caches hold none of the "
         "model\n"
         "  --no-optimize          turn ONNX Runtime's graph optimisations off\n"
         "  --json FILE            machine-readable report; - for standard output\n"
         "  --lockstep             obey commands on standard input (see docs/membus.md)\n"
         "  --marks                tell a simulator where runs begin and end (see docs/membus.md)\n"
         "  --version, --help\n"
         "\n"
         "exit codes: 0 done, 1 the model or a check failed, 2 wrong usage or unreadable input,\n"
         "            3 ONNX Runtime or the operator library is missing\n";
}

}  // namespace haste::runner
