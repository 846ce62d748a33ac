// Loops over a caller's thread pool.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "error.h"
#include "haste/haste.h"

namespace haste {

// Calls body(i) for every i < count: on the pool if there is one and more than one thing to do, else here. Returns
// whether it was: a caller's pool may fail.
template <typename Body>
bool for_each(haste_parallel_for parallel_for, void* pool, int64_t count, Body body) {
  if (!parallel_for || count <= 1) {
    for (int64_t i = 0; i < count; i++) body(i);
    return true;
  }
  struct State {
    Body& body;
    std::atomic<int64_t> done;
  } state{body, {0}};
  const haste_task task = [](void* of, size_t index) {
    State& tasks = *static_cast<State*>(of);
    tasks.body(static_cast<int64_t>(index));
    tasks.done.fetch_add(1, std::memory_order_relaxed);
  };
  parallel_for(pool, task, static_cast<size_t>(count), &state);
  return state.done.load() == count;
}

inline haste_status fail_unfinished() {
  return fail(HASTE_NOT_RUN, "parallel_for returned before all its tasks had run");
}

}  // namespace haste
