// Device memory of the stand-in: host memory in one reserved range, so that a pointer tells where it points.
#pragma once

#include <cstddef>

namespace stand_in {

constexpr size_t kCapacity = size_t{4} << 30;  // reserved, not used, until it is written to

// Whether HASTE_STAND_IN_LOCK is set: device memory can then be touched only by what a stream does, which it does at
// once. A host that reads a device pointer is stopped by the processor, as it would be beside a GPU.
bool locked();

// Opens locked device memory for a scope.
class Access {
 public:
  Access();
  ~Access();
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;
};

void* allocate(size_t bytes);  // null when the range is used up; filled with a NaN pattern
void release(void* memory);    // ends the program for what allocate() never gave
void* allocate_pinned(size_t bytes);
void release_pinned(void* memory);
bool is_device(const void* memory);
bool is_pinned(const void* memory);

}  // namespace stand_in
