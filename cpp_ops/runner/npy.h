// NumPy's .npy files (format versions 1 to 3, C order, little endian), and raw files of values alone.
#ifndef HASTE_RUNNER_NPY_H_
#define HASTE_RUNNER_NPY_H_

#include <string>

#include "tensor.h"

namespace haste::runner {

// Throws Error(kUsage) when the file cannot be read, is no .npy file, or has an order or type not supported.
Tensor read_npy(const std::string& path);

// The file must hold exactly the bytes of a tensor of this type and shape.
Tensor read_raw(const std::string& path, const ElementType& type, const std::vector<std::int64_t>& shape);

// By the magic number, not by the name.
bool is_npy(const std::string& path);

// shape may be empty (a scalar). Throws Error(kUsage) when the file cannot be written.
void write_npy(const std::string& path, const ElementType& type, const std::vector<std::int64_t>& shape,
               const void* data);

}  // namespace haste::runner

#endif  // HASTE_RUNNER_NPY_H_
