// HasteConv runs in this process, whichever device they ran on.
#pragma once

#include <atomic>
#include <cstdint>

namespace haste {

inline std::atomic<uint64_t> run_count{0};

}  // namespace haste
