// Known amounts of memory traffic: to empty caches before a run and to calibrate hardware counters.
#ifndef HASTE_RUNNER_MEMORY_STREAM_H_
#define HASTE_RUNNER_MEMORY_STREAM_H_

#include <cstdint>
#include <memory>

namespace haste::runner {

enum class Stream { kRead, kWrite, kCopy };

class MemoryStreams {
 public:
  // Walks once through `bytes` of memory, rounded up to cache lines: read loads every line, write stores every byte,
  // copy reads one half of 2 x bytes and writes the other. Buffers are made and touched by prepare, so that page faults
  // are not part of the walk.
  void prepare(Stream stream, std::uint64_t bytes);
  void run(Stream stream, std::uint64_t bytes);

  // A read walk: what it leaves in the caches is clean, so the next run's write-backs are that run's own.
  void evict(std::uint64_t bytes) {
    prepare(Stream::kRead, bytes);
    run(Stream::kRead, bytes);
  }

 private:
  struct Free {
    void operator()(std::uint64_t* p) const;
  };
  std::unique_ptr<std::uint64_t, Free> source_, target_;
  std::uint64_t source_bytes_ = 0, target_bytes_ = 0;
};

}  // namespace haste::runner

#endif  // HASTE_RUNNER_MEMORY_STREAM_H_
