// The one exception of this folder; the C API turns it into a status and a sentence.
#pragma once

#include <string>
#include <utility>

#include "../kernels/error.h"

namespace haste::cuda {

struct Failure {
  haste_status status;
  std::string sentence;
};

[[noreturn]] inline void fail(haste_status status, std::string sentence) {
  throw Failure{status, std::move(sentence)};
}

// A status of the code that is shared with the CPU kernels.
inline void check(haste_status status) {
  if (status != HASTE_OK) fail(status, last_error());
}

inline void require(bool condition, const char* sentence) {
  if (!condition) fail(HASTE_INVALID_ARGUMENT, sentence);
}

}  // namespace haste::cuda
