#pragma once

#include <cstddef>

namespace haste {

// Bytes of the first core's second-level cache: from the system, or a cautious guess where it does not say.
size_t l2_cache_size();

// Cores that share it; 1 where the system does not say.
int l2_cache_cores();

// In place of what the system says; 0: what it says.
void set_l2_cache(size_t bytes, int cores);

}  // namespace haste
