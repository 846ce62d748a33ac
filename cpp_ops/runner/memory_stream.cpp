#include "memory_stream.h"

#include <cstdlib>

#include "error.h"

namespace haste::runner {
namespace {

constexpr std::uint64_t kLine = 64, kWordsPerLine = kLine / sizeof(std::uint64_t);

std::uint64_t round_up(std::uint64_t bytes) {
  return (bytes + kLine - 1) / kLine * kLine;
}

// The compiler may neither drop the memory behind `p` nor turn the loop before it into a library call with other
// stores.
void keep(const void* p) {
  asm volatile("" : : "r"(p) : "memory");
}

void fill(std::uint64_t* p, std::uint64_t bytes, std::uint64_t value) {
  for (std::uint64_t i = 0; i < bytes / sizeof *p; i += kWordsPerLine) {
    for (std::uint64_t j = 0; j < kWordsPerLine; j++) p[i + j] = value;
    keep(p + i);
  }
}

}  // namespace

void MemoryStreams::Free::operator()(std::uint64_t* p) const {
  std::free(p);
}

void MemoryStreams::prepare(Stream stream, std::uint64_t bytes) {
  bytes = round_up(bytes);
  const auto grow = [bytes](std::unique_ptr<std::uint64_t, Free>& buffer, std::uint64_t& size) {
    if (size >= bytes) return;
    buffer.reset();
    buffer.reset(static_cast<std::uint64_t*>(std::aligned_alloc(kLine, bytes)));
    if (!buffer) throw Error(kEnvironment, "no memory for a buffer of " + std::to_string(bytes) + " bytes");
    size = bytes;
    fill(buffer.get(), bytes, 1);
  };
  if (stream != Stream::kWrite) grow(source_, source_bytes_);
  if (stream != Stream::kRead) grow(target_, target_bytes_);
}

void MemoryStreams::run(Stream stream, std::uint64_t bytes) {
  const bool reads = stream != Stream::kWrite, writes = stream != Stream::kRead;
  if ((reads && source_bytes_ < round_up(bytes)) || (writes && target_bytes_ < round_up(bytes)))
    throw Error(kUsage, "a buffer of " + std::to_string(bytes) + " bytes has not been prepared");
  const std::uint64_t words = round_up(bytes) / sizeof(std::uint64_t);
  std::uint64_t* source = source_.get();
  std::uint64_t* target = target_.get();
  switch (stream) {
    case Stream::kRead: {
      std::uint64_t sum = 0;
      for (std::uint64_t i = 0; i < words; i += kWordsPerLine) sum += source[i];
      asm volatile("" : : "r"(sum));
      break;
    }
    case Stream::kWrite:
      fill(target, round_up(bytes), 2);
      break;
    case Stream::kCopy:
      for (std::uint64_t i = 0; i < words; i += kWordsPerLine) {
        for (std::uint64_t j = 0; j < kWordsPerLine; j++) target[i + j] = source[i + j];
        keep(target + i);
      }
      break;
  }
}

}  // namespace haste::runner
