#include "tensor.h"

#include <cmath>
#include <cstring>

namespace haste::runner {
namespace {

constexpr ElementType kTypes[] = {
    {1, "<f4", "float", 4},    {2, "|u1", "uint8", 1},   {3, "|i1", "int8", 1},    {4, "<u2", "uint16", 2},
    {5, "<i2", "int16", 2},    {6, "<i4", "int32", 4},   {7, "<i8", "int64", 8},   {9, "|b1", "bool", 1},
    {10, "<f2", "float16", 2}, {11, "<f8", "double", 8}, {12, "<u4", "uint32", 4}, {13, "<u8", "uint64", 8},
};

// splitmix64: one addition and two multiplications per number, the same on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // Irwin-Hall: the sum of twelve uniforms is close to normal and needs no libm, whose last digit differs between
  // systems.
  double normal() {
    double sum = -6;
    for (int i = 0; i < 12; i++) sum += static_cast<double>(bits() >> 11) * 0x1p-53;
    return sum;
  }

 private:
  std::uint64_t state_;
};

// Round to nearest, ties to even; |value| <= 6 here, so infinities and NaN do not occur.
std::uint16_t to_float16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const float magnitude = std::fabs(value);
  if (magnitude < 0x1p-14f)
    return static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(std::nearbyint(magnitude * 0x1p24f)));
  bits &= 0x7fffffffu;
  bits += 0xfffu + ((bits >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((bits - (112u << 23)) >> 13));
}

template <typename T>
void put(Tensor& tensor, std::size_t index, T value) {
  std::memcpy(tensor.data() + index * sizeof value, &value, sizeof value);
}

}  // namespace

const ElementType* element_type(int onnx) {
  for (const ElementType& type : kTypes)
    if (type.onnx == onnx) return &type;
  return nullptr;
}

const ElementType* element_type_of_npy(const std::string& npy) {
  for (const ElementType& type : kTypes)
    if (npy == type.npy) return &type;
  return nullptr;
}

std::uint8_t* Tensor::data() {
  const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(storage.data());
  return storage.data() + (64 - address % 64) % 64;
}

std::size_t element_count(const std::vector<std::int64_t>& shape) {
  std::size_t count = 1;
  for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
  return count;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) text += (text.size() > 1 ? "," : "") + (size < 0 ? "?" : std::to_string(size));
  return text + "]";
}

Tensor make_tensor(const ElementType& type, std::vector<std::int64_t> shape) {
  Tensor tensor;
  tensor.type = &type;
  tensor.bytes = element_count(shape) * type.bytes;
  tensor.shape = std::move(shape);
  tensor.storage.resize(tensor.bytes + 64);
  return tensor;
}

void fill_random(Tensor& tensor, std::uint64_t seed) {
  Random random(seed);
  const std::size_t count = tensor.bytes / tensor.type->bytes;
  for (std::size_t i = 0; i < count; i++) {
    switch (tensor.type->onnx) {
      case kFloat:
        put(tensor, i, static_cast<float>(random.normal()));
        break;
      case kDouble:
        put(tensor, i, random.normal());
        break;
      case kFloat16:
        put(tensor, i, to_float16(static_cast<float>(random.normal())));
        break;
      case kUint8:
      case kInt8:
        put(tensor, i, static_cast<std::uint8_t>(random.bits() >> 56));
        break;
      default:
        break;
    }
  }
}

}  // namespace haste::runner
