// Tells a simulator where inferences begin and end: a system call that no kernel knows, and that does nothing
// elsewhere.
#ifndef HASTE_RUNNER_MARKS_H_
#define HASTE_RUNNER_MARKS_H_

#include <sys/prctl.h>

namespace haste::runner {

constexpr int kMarkCall = 0x48535445;  // an option prctl does not have

enum class Mark : unsigned long {
  kWarm = 1,   // simulate the caches from here on, count nothing
  kFlush = 2,  // write dirty lines back and empty the caches, uncounted
  kBegin = 3,  // count
  kEnd = 4,    // stop counting; one record
};

inline void mark(Mark what) {
  prctl(kMarkCall, static_cast<unsigned long>(what), 0ul, 0ul, 0ul);
}

}  // namespace haste::runner

#endif  // HASTE_RUNNER_MARKS_H_
