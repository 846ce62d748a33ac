// Whether an enum of haste.h that a caller filled in has one of its values. A C caller can put any number there, and in
// C++ even looking at such an enum is undefined, so its bytes are looked at.
#pragma once

#include <cstring>

namespace haste {

template <typename Enum>
bool known(const Enum& value, Enum last) {
  static_assert(sizeof(Enum) == sizeof(unsigned), "a C enum is an int");
  unsigned number = 0, highest = 0;
  std::memcpy(&number, &value, sizeof number);
  std::memcpy(&highest, &last, sizeof highest);
  return number <= highest;
}

}  // namespace haste
