// Workspaces of HasteConv runs, one per stream: runs on a stream follow one another and share it. They grow to what the
// largest layer needs and are then never allocated again.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace haste::cuda {

class Workspaces {
  struct Entry;

 public:
  // Holds a stream's workspace while the launches of one run are enqueued, so that the launches of two host threads on
  // one stream do not mix.
  class Lease {
   public:
    void* memory() const;
    size_t bytes() const;

   private:
    friend class Workspaces;
    Lease(Entry& entry, std::unique_lock<std::mutex> lock) : entry_(&entry), lock_(std::move(lock)) {}
    Entry* entry_;
    std::unique_lock<std::mutex> lock_;
  };

  // The workspaces of the process; they are freed when the last holder lets go.
  static std::shared_ptr<Workspaces> shared();
  ~Workspaces();

  // At least `bytes` on the current device. Throws Failure when there is no memory.
  Lease lease(void* stream, size_t bytes);

 private:
  std::mutex mutex_;  // of the map, not of its entries
  std::map<std::pair<int, void*>, std::unique_ptr<Entry>> entries_;
};

}  // namespace haste::cuda
