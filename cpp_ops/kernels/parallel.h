// Loops over a caller's thread pool.
#pragma once

#include <cstddef>
#include <cstdint>

#include "haste/haste.h"

namespace haste {

// Calls body(i) for every i < count: on the pool if there is one and more than one thing to do, else here.
template <typename Body>
void for_each(haste_parallel_for parallel_for, void* pool, int64_t count, Body body) {
  if (!parallel_for || count <= 1) {
    for (int64_t i = 0; i < count; i++) body(i);
    return;
  }
  const haste_task task = [](void* state, size_t index) { (*static_cast<Body*>(state))(static_cast<int64_t>(index)); };
  parallel_for(pool, task, static_cast<size_t>(count), &body);
}

}  // namespace haste
