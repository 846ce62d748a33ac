// The one exception of this folder; the C API turns it into a status and a sentence.
#pragma once

#include <string>
#include <utility>

#include "haste/haste.h"

namespace haste::cuda {

struct Failure {
  haste_status status;
  std::string sentence;
};

[[noreturn]] inline void fail(haste_status status, std::string sentence) {
  throw Failure{status, std::move(sentence)};
}

inline void require(bool condition, const char* sentence) {
  if (!condition) fail(HASTE_INVALID_ARGUMENT, sentence);
}

}  // namespace haste::cuda
