#include "npy.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>

#include "error.h"

namespace haste::runner {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr std::size_t kMagicBytes = 6, kVersionBytes = 2;
constexpr std::size_t kLongestHeader = 1 << 16;  // a plain array's header is about a hundred bytes

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

File open_file(const std::string& path, const char* mode) {
  File file(std::fopen(path.c_str(), mode));
  if (!file) throw Error(kUsage, path + ": " + std::strerror(errno));
  return file;
}

void read_exactly(std::FILE* file, void* data, std::size_t bytes, const std::string& path) {
  if (std::fread(data, 1, bytes, file) != bytes) throw Error(kUsage, path + ": ends too early");
}

void expect_end(std::FILE* file, const std::string& path) {
  if (std::fgetc(file) != EOF) throw Error(kUsage, path + ": holds more bytes than its shape says");
}

// The text after "'key':" in the header, a Python dict literal that NumPy itself writes.
std::string field(const std::string& header, const std::string& key, const std::string& path) {
  const std::size_t at = header.find("'" + key + "':");
  if (at == std::string::npos) throw Error(kUsage, path + ": .npy header without '" + key + "'");
  std::size_t begin = at + key.size() + 3;
  while (begin < header.size() && header[begin] == ' ') begin++;
  return header.substr(begin);
}

std::vector<std::int64_t> parse_shape(const std::string& text, const std::string& path) {
  std::vector<std::int64_t> shape;
  const char* p = text.c_str();
  if (*p++ != '(') throw Error(kUsage, path + ": .npy header with a broken shape");
  std::size_t elements = 1;
  while (*p && *p != ')') {
    char* end = nullptr;
    const long long size = std::strtoll(p, &end, 10);
    if (end == p || size < 0) throw Error(kUsage, path + ": .npy header with a broken shape");
    if (__builtin_mul_overflow(elements, static_cast<std::size_t>(size), &elements) ||
        elements > (std::numeric_limits<std::size_t>::max() / 64))
      throw Error(kUsage, path + ": .npy header with an impossible shape");
    shape.push_back(size);
    for (p = end; *p == ',' || *p == ' '; p++) {
    }
  }
  return shape;
}

}  // namespace

bool is_npy(const std::string& path) {
  const File file = open_file(path, "rb");
  char magic[kMagicBytes] = {};
  return std::fread(magic, 1, kMagicBytes, file.get()) == kMagicBytes && std::memcmp(magic, kMagic, kMagicBytes) == 0;
}

Tensor read_npy(const std::string& path) {
  const File file = open_file(path, "rb");
  std::uint8_t start[kMagicBytes + kVersionBytes];
  read_exactly(file.get(), start, sizeof start, path);
  if (std::memcmp(start, kMagic, kMagicBytes) != 0) throw Error(kUsage, path + ": not a .npy file");
  const bool long_header = start[kMagicBytes] >= 2;
  std::uint8_t size[4] = {};
  read_exactly(file.get(), size, long_header ? 4 : 2, path);
  const std::size_t header_bytes = size[0] | size[1] << 8 | size[2] << 16 | static_cast<std::size_t>(size[3]) << 24;
  if (header_bytes > kLongestHeader) throw Error(kUsage, path + ": .npy header too long");
  std::string header(header_bytes, '\0');
  read_exactly(file.get(), header.data(), header_bytes, path);

  const std::string descr = field(header, "descr", path);
  const std::string npy = descr.size() > 1 ? descr.substr(1, descr.find('\'', 1) - 1) : "";
  const ElementType* type = element_type_of_npy(npy);
  if (!type) throw Error(kUsage, path + ": element type " + descr.substr(0, descr.find(',')) + " is not supported");
  if (field(header, "fortran_order", path).rfind("True", 0) == 0)
    throw Error(kUsage, path + ": is in Fortran order; save numpy.ascontiguousarray(x)");
  Tensor tensor = make_tensor(*type, parse_shape(field(header, "shape", path), path));
  read_exactly(file.get(), tensor.data(), tensor.bytes, path);
  expect_end(file.get(), path);
  return tensor;
}

Tensor read_raw(const std::string& path, const ElementType& type, const std::vector<std::int64_t>& shape) {
  const File file = open_file(path, "rb");
  Tensor tensor = make_tensor(type, shape);
  const std::string wanted = std::to_string(tensor.bytes) + " bytes of " + type.name + " " + shape_text(shape);
  if (std::fread(tensor.data(), 1, tensor.bytes, file.get()) != tensor.bytes || std::fgetc(file.get()) != EOF)
    throw Error(kUsage, path + ": a raw input must hold exactly " + wanted);
  return tensor;
}

void write_npy(const std::string& path, const ElementType& type, const std::vector<std::int64_t>& shape,
               const void* data) {
  std::string dims;
  for (const std::int64_t size : shape) dims += std::to_string(size) + (shape.size() == 1 ? "," : ", ");
  if (shape.size() > 1) dims.resize(dims.size() - 2);
  std::string header = std::string("{'descr': '") + type.npy + "', 'fortran_order': False, 'shape': (" + dims + "), }";
  const std::size_t prefix = kMagicBytes + kVersionBytes + 2;
  header.append((64 - (prefix + header.size() + 1) % 64) % 64, ' ');  // NumPy aligns the values to 64 bytes
  header += '\n';
  const std::uint8_t version_and_size[] = {1, 0, static_cast<std::uint8_t>(header.size() & 255),
                                           static_cast<std::uint8_t>(header.size() >> 8)};
  const std::size_t bytes = element_count(shape) * type.bytes;
  File file = open_file(path, "wb");
  bool ok = std::fwrite(kMagic, 1, kMagicBytes, file.get()) == kMagicBytes &&
            std::fwrite(version_and_size, 1, sizeof version_and_size, file.get()) == sizeof version_and_size &&
            std::fwrite(header.data(), 1, header.size(), file.get()) == header.size() &&
            std::fwrite(data, 1, bytes, file.get()) == bytes;
  ok = std::fclose(file.release()) == 0 && ok;
  if (!ok) throw Error(kUsage, path + ": " + std::strerror(errno));
}

}  // namespace haste::runner
