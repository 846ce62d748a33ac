#include "memory.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

namespace stand_in {
namespace {

constexpr size_t kAlignment = 256;  // as of cudaMalloc
constexpr int kFresh = 0x7f, kReleased = 0x7e;

std::mutex mutex;
std::map<char*, size_t> blocks, free_blocks, pinned;
size_t used = 0;

std::mutex access_mutex;
int accesses = 0;

void protect(char* range, int protection) {
  if (mprotect(range, kCapacity, protection) != 0) std::abort();
}

char* range() {
  static char* const memory = [] {
    const int protection = locked() ? PROT_NONE : PROT_READ | PROT_WRITE;
    void* const reserved = mmap(nullptr, kCapacity, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) std::abort();
    return static_cast<char*>(reserved);
  }();
  return memory;
}

void fill(char* block, int value, size_t bytes) {
  const Access access;
  std::memset(block, value, bytes);
}

char* take_block(size_t bytes) {
  for (auto it = free_blocks.begin(); it != free_blocks.end(); ++it) {
    if (it->second != bytes) continue;
    char* const block = it->first;
    free_blocks.erase(it);
    return block;
  }
  if (used + bytes > kCapacity) return nullptr;
  char* const block = range() + used;
  used += bytes;
  return block;
}

}  // namespace

bool locked() {
  static const bool value = std::getenv("HASTE_STAND_IN_LOCK") != nullptr;
  return value;
}

Access::Access() {
  if (!locked()) return;
  const std::lock_guard<std::mutex> lock(access_mutex);
  if (accesses++ == 0) protect(range(), PROT_READ | PROT_WRITE);
}

Access::~Access() {
  if (!locked()) return;
  const std::lock_guard<std::mutex> lock(access_mutex);
  if (--accesses == 0) protect(range(), PROT_NONE);
}

void* allocate(size_t bytes) {
  bytes = (bytes + kAlignment) / kAlignment * kAlignment;
  const std::lock_guard<std::mutex> lock(mutex);
  char* const block = take_block(bytes);
  if (!block) return nullptr;
  blocks[block] = bytes;
  fill(block, kFresh, bytes);
  return block;
}

void release(void* memory) {
  if (!memory) return;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto block = blocks.find(static_cast<char*>(memory));
  if (block == blocks.end()) {
    std::fprintf(stderr, "stand-in for CUDA: %p is freed, but was not allocated\n", memory);
    std::abort();
  }
  fill(block->first, kReleased, block->second);
  free_blocks.insert(*block);
  blocks.erase(block);
}

void* allocate_pinned(size_t bytes) {
  void* const memory = std::malloc(bytes);
  const std::lock_guard<std::mutex> lock(mutex);
  if (memory) pinned[static_cast<char*>(memory)] = bytes;
  return memory;
}

void release_pinned(void* memory) {
  const std::lock_guard<std::mutex> lock(mutex);
  pinned.erase(static_cast<char*>(memory));
  std::free(memory);
}

bool is_device(const void* memory) {
  const char* const at = static_cast<const char*>(memory);
  return at >= range() && at < range() + kCapacity;
}

bool is_pinned(const void* memory) {
  char* const at = static_cast<char*>(const_cast<void*>(memory));
  const std::lock_guard<std::mutex> lock(mutex);
  auto block = pinned.upper_bound(at);
  if (block == pinned.begin()) return false;
  --block;
  return at < block->first + block->second;
}

}  // namespace stand_in
