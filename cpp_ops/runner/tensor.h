// A dense tensor in host memory, with the element types haste-run reads and writes.
#ifndef HASTE_RUNNER_TENSOR_H_
#define HASTE_RUNNER_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace haste::runner {

// `onnx` is the number of ONNX's (and ONNX Runtime's) element type enumeration; `npy` the type string of a .npy header.
struct ElementType {
  int onnx;
  const char* npy;
  const char* name;
  std::size_t bytes;
};

// Null for types that have no .npy form here (strings, bfloat16, complex numbers).
const ElementType* element_type(int onnx);
const ElementType* element_type_of_npy(const std::string& npy);

constexpr int kFloat = 1, kUint8 = 2, kInt8 = 3, kDouble = 11, kFloat16 = 10;

struct Tensor {
  const ElementType* type = nullptr;
  std::vector<std::int64_t> shape;
  std::vector<std::uint8_t> storage;  // 64 bytes larger than the data so that data() can be aligned
  std::size_t bytes = 0;

  std::uint8_t* data();
  const std::uint8_t* data() const { return const_cast<Tensor*>(this)->data(); }
};

std::size_t element_count(const std::vector<std::int64_t>& shape);
std::string shape_text(const std::vector<std::int64_t>& shape);

// Zero-filled, data() aligned to a cache line.
Tensor make_tensor(const ElementType& type, std::vector<std::int64_t> shape);

// Floating types: standard normal; 8-bit integers: uniform over the type; other integers and bool: zero. The values
// depend on seed alone, not on the machine.
void fill_random(Tensor& tensor, std::uint64_t seed);

}  // namespace haste::runner

#endif  // HASTE_RUNNER_TENSOR_H_
