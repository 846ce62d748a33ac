#include "report.h"

#include <cstdarg>
#include <cstdio>

#include "json_writer.h"

namespace haste::runner {
namespace {

__attribute__((format(printf, 1, 2))) std::string format(const char* pattern, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(line, sizeof line, pattern, arguments);
  va_end(arguments);
  return line;
}

std::string library_text(const DynamicLibrary& library, const char* symbol) {
  const auto get = reinterpret_cast<const char* (*)()>(library.symbol(symbol));
  return get ? get() : "";
}

double mebibytes(std::uint64_t bytes) {
  return static_cast<double>(bytes) / (1024 * 1024);
}

constexpr const char* kSumNames[] = {"patches",         "channels",      "buckets",        "merged_buckets",
                                     "skipped_buckets", "zero_channels", "merged_members", "left_members"};

}  // namespace

std::string human_report(const Report& report) {
  const Measurement& m = report.measurement;
  std::string text = "model        " + report.options.model + "\n";
  text += "onnxruntime  " + report.runtime.version + "  " + report.runtime.library.path() + "\n";
  if (report.library.open())
    text += "library      " + library_text(report.library, "haste_version") + " (" +
            library_text(report.library, "haste_isa") + ")  " + report.library.path() + "\n";
  else
    text += report.options.use_library ? "library      none found: HasteConv runs its exact body\n"
                                       : "library      not used\n";
  text += format("native       %llu HasteConv kernels per inference\n", static_cast<unsigned long long>(m.native_runs));
  text += format("time         %.3f ms median, %.3f ms interquartile range, %.3f ms fastest, %zu runs, %d threads%s\n",
                 m.times.median() * 1e3, m.times.spread() * 1e3, m.times.quantile(0) * 1e3, m.times.seconds.size(),
                 report.options.threads, report.options.evict_bytes ? ", cold" : "");
  text += format("memory       %.1f MiB peak, %.1f MiB after loading\n", mebibytes(m.memory_peak),
                 mebibytes(m.memory_loaded));
  if (!m.layers.empty()) text += "\n    r  merged  zero  layer\n";
  for (const LayerStats& layer : m.layers) {
    if (layer.native())
      text += format("%.3f  %5.1f%%  %3.0f%%  %s\n", layer.compression(), 100. * layer.sums[6] / layer.sums[1],
                     100. * layer.sums[5] / layer.sums[1], layer.name.c_str());
    else
      text += "    -       -     -  " + layer.name + " (not native)\n";
  }
  return text;
}

std::string json_report(const Report& report) {
  const Measurement& m = report.measurement;
  const Options& options = report.options;
  JsonWriter json;
  json.open('{');
  json.key("model").value(options.model);
  json.key("onnxruntime").open('{').key("version").value(report.runtime.version);
  json.key("path").value(report.runtime.library.path()).close('}');
  json.key("library");
  if (report.library.open()) {
    json.open('{').key("version").value(library_text(report.library, "haste_version"));
    json.key("isa").value(library_text(report.library, "haste_isa"));
    json.key("path").value(report.library.path()).close('}');
  } else {
    json.null();
  }
  json.key("threads").value(options.threads);
  json.key("hyperplanes");
  options.hyperplanes ? json.value(*options.hyperplanes) : json.null();
  json.key("level");
  options.level ? json.value(*options.level) : json.null();
  json.key("evict_bytes").value(options.evict_bytes);
  json.key("native_runs_per_inference").value(m.native_runs);
  json.key("median_s")
      .value(m.times.median())
      .key("iqr_s")
      .value(m.times.spread())
      .key("min_s")
      .value(m.times.quantile(0));
  json.key("runs_s").open('[');
  for (const double seconds : m.times.seconds) json.value(seconds);
  json.close(']');
  json.key("peak_memory_bytes").value(m.memory_peak).key("loaded_memory_bytes").value(m.memory_loaded);
  json.key("layers").open('[');
  for (const LayerStats& layer : m.layers) {
    json.open('{').key("name").value(layer.name).key("native").value(layer.native());
    json.key("r").value(layer.compression());
    for (std::size_t i = 0; i < layer.sums.size(); i++)
      json.key(kSumNames[i]).value(static_cast<double>(layer.sums[i]));
    json.close('}');
  }
  json.close(']').key("outputs").open('[');
  for (const Output& output : report.outputs) {
    json.open('{').key("name").value(output.name).key("type").value(output.type ? output.type->name : "other");
    json.key("shape").open('[');
    for (const std::int64_t size : output.shape) json.value(size);
    json.close(']').close('}');
  }
  json.close(']').close('}');
  return json.text() + "\n";
}

}  // namespace haste::runner
