// Status and sentence of the last failure on this thread.
#pragma once

#include "haste/haste.h"

namespace haste {

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
haste_status fail(haste_status status, const char* format, ...);
const char* last_error();

}  // namespace haste
