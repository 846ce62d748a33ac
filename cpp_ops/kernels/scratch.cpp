#include "scratch.h"

#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace haste {
namespace {

struct Buffer {
  char* data;
  size_t capacity;
};

struct Pool {
  std::mutex mutex;
  std::vector<Buffer> free;
  int users = 0;
  int lent = 0;
};

Pool& pool() {
  static Pool* instance = new Pool;  // never destroyed: sessions may outlive static destruction
  return *instance;
}

}  // namespace

void* aligned_allocate(size_t bytes) {
  void* memory = nullptr;
  return posix_memalign(&memory, 64, bytes ? bytes : 64) == 0 ? memory : nullptr;
}

void aligned_free(void* memory) {
  std::free(memory);
}

Scratch::Scratch(size_t bytes) : data_(nullptr), capacity_(0) {
  Buffer found{nullptr, 0};
  {
    Pool& p = pool();
    const std::lock_guard<std::mutex> lock(p.mutex);
    // Room for every buffer that is out, so that giving one back cannot fail.
    try {
      p.free.reserve(p.free.size() + static_cast<size_t>(p.lent) + 1);
    } catch (const std::bad_alloc&) {
      return;
    }
    p.lent++;
    // The smallest that is large enough; failing that the largest, to be replaced by a larger one.
    size_t best = p.free.size();
    for (size_t i = 0; i < p.free.size(); i++) {
      if (best == p.free.size()) {
        best = i;
        continue;
      }
      const size_t a = p.free[i].capacity, b = p.free[best].capacity;
      if (a >= bytes ? (b < bytes || a < b) : (b < bytes && a > b)) best = i;
    }
    if (best < p.free.size()) {
      found = p.free[best];
      p.free[best] = p.free.back();
      p.free.pop_back();
    }
  }
  if (found.capacity < bytes) {
    aligned_free(found.data);
    found.data = static_cast<char*>(aligned_allocate(bytes));
    found.capacity = bytes;
  }
  data_ = found.data;
  capacity_ = found.data ? found.capacity : 0;
  if (!data_) {
    Pool& p = pool();
    const std::lock_guard<std::mutex> lock(p.mutex);
    p.lent--;
  }
}

Scratch::~Scratch() {
  if (!data_) return;
  Pool& p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  p.lent--;
  p.free.push_back({data_, capacity_});
}

void add_scratch_user() {
  Pool& p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  p.users++;
}

void remove_scratch_user() {
  Pool& p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  if (--p.users > 0) return;
  for (const Buffer& buffer : p.free) aligned_free(buffer.data);
  p.free.clear();
  p.free.shrink_to_fit();
}

}  // namespace haste
