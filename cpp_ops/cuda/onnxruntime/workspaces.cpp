#include "workspaces.h"

#include "../backend.h"

namespace haste::cuda {

struct Workspaces::Entry {
  std::mutex mutex;
  void* memory = nullptr;
  size_t bytes = 0;
};

void* Workspaces::Lease::memory() const {
  return entry_->memory;
}
size_t Workspaces::Lease::bytes() const {
  return entry_->bytes;
}

std::shared_ptr<Workspaces> Workspaces::shared() {
  static std::mutex mutex;
  static std::weak_ptr<Workspaces> current;
  const std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<Workspaces> workspaces = current.lock();
  if (!workspaces) current = workspaces = std::make_shared<Workspaces>();
  return workspaces;
}

Workspaces::~Workspaces() {
  // Streams may be gone by now; a plain release waits for whatever still uses the memory.
  for (const auto& [key, entry] : entries_) backend::release(entry->memory);
}

Workspaces::Lease Workspaces::lease(void* stream, size_t bytes) {
  Entry* entry = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::unique_ptr<Entry>& slot = entries_[{backend::current_device(), stream}];
    if (!slot) slot = std::make_unique<Entry>();
    entry = slot.get();
  }
  std::unique_lock<std::mutex> lock(entry->mutex);
  if (entry->bytes < bytes) {
    backend::release_on(stream, entry->memory);
    entry->memory = nullptr;
    entry->bytes = 0;
    entry->memory = backend::allocate_on(stream, bytes);
    entry->bytes = bytes;
  }
  return {*entry, std::move(lock)};
}

}  // namespace haste::cuda
