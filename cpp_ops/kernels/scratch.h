// Scratch memory: a process-wide pool of 64-byte-aligned buffers, so that a run after the first allocates nothing and
// the layers of a model share what they need one after the other.
#pragma once

#include <cstddef>
#include <cstdint>

namespace haste {

// A buffer of the pool for as long as this object lives. data() is nullptr when memory ran out.
class Scratch {
 public:
  explicit Scratch(size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  char* data() const { return data_; }

 private:
  char* data_;
  size_t capacity_;
};

// The pool is emptied when the last user is gone.
void add_scratch_user();
void remove_scratch_user();

void* aligned_allocate(size_t bytes);  // 64-byte aligned, nullptr on failure
void aligned_free(void* memory);

// Cuts one buffer into aligned pieces: first by counting, then for real.
class Cutter {
 public:
  explicit Cutter(char* base) : base_(base) {}
  template <typename T>
  T* take(size_t count) {
    T* piece = base_ && count ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += (count * sizeof(T) + 63) / 64 * 64;
    return piece;
  }
  size_t used() const { return used_; }

 private:
  char* base_;
  size_t used_ = 0;
};

}  // namespace haste
