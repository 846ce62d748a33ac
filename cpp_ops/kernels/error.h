// Status and sentence of the last failure on this thread, and how exceptions become one.
#pragma once

#include <exception>
#include <new>

#include "haste/haste.h"

namespace haste {

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
haste_status fail(haste_status status, const char* format, ...);
const char* last_error();

// The status of a body, or of what it throws: no exception crosses the C boundary.
template <typename Body>
haste_status guarded(const Body& body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return fail(HASTE_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return fail(HASTE_UNSUPPORTED, "unexpected: %s", error.what());
  } catch (...) {
    return fail(HASTE_UNSUPPORTED, "unexpected: an exception of an unknown type");
  }
}

}  // namespace haste
