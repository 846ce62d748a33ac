#include "hyperplanes.h"

#include <algorithm>

namespace haste {

std::vector<int32_t> window_offsets(const Geometry& g) {
  std::vector<int32_t> offsets(static_cast<size_t>(g.slot), g.window_h * g.strip_w * kBlock);
  const ptrdiff_t row = g.form == Form::kNested ? tiling(g.patch).window() : g.window_w;
  for (int y = 0; y < g.window_h; y++)
    for (int x = 0; x < g.window_w; x++) offsets[static_cast<size_t>(y * row + x)] = (y * g.strip_w + x) * kBlock;
  return offsets;
}

Hyperplanes::Hyperplanes(const Geometry& g, const int8_t* rows, int count)
    : rows_(static_cast<size_t>(count)), zero_offset_(g.window_h * g.strip_w * kBlock) {
  for (int l = 0; l < count; l++)
    for (int q = 0; q < g.window; q++)
      if (const int8_t v = rows[static_cast<ptrdiff_t>(l) * g.window + q]) {
        const int32_t offset = (q / g.window_w * g.strip_w + q % g.window_w) * kBlock;
        rows_[static_cast<size_t>(l)].push_back({{offset, 0}, {static_cast<float>(v), 0}});
      }
}

std::unique_ptr<Hyperplanes::Plan> Hyperplanes::make(int hyperplanes) const {
  // Partners of about the same length waste the fewest fillers.
  std::vector<int> order(static_cast<size_t>(hyperplanes));
  for (int l = 0; l < hyperplanes; l++) order[static_cast<size_t>(l)] = l;
  const auto length = [&](int l) { return rows_[static_cast<size_t>(l)].size(); };
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return length(a) < length(b); });
  auto plan = std::make_unique<Plan>();
  for (size_t i = 0; i < order.size(); i += 2) {
    const int a = order[i], b = i + 1 < order.size() ? order[i + 1] : -1;
    const size_t steps = std::max(length(a), b < 0 ? 0 : length(b));
    plan->pairs.push_back({{a, b}, static_cast<int>(steps)});
    for (size_t s = 0; s < steps; s++) {
      HashStep step{{zero_offset_, zero_offset_}, {0, 0}};
      const auto fill = [&](int side, int l) {
        if (l < 0 || s >= length(l)) return;
        step.offset[side] = rows_[static_cast<size_t>(l)][s].offset[0];
        step.sign[side] = rows_[static_cast<size_t>(l)][s].sign[0];
      };
      fill(0, a);
      fill(1, b);
      plan->steps.push_back(step);
    }
  }
  plan->view = {hyperplanes, static_cast<int>(plan->pairs.size()), plan->pairs.data(), plan->steps.data()};
  return plan;
}

const HashPlan* Hyperplanes::plan(int hyperplanes) const {
  const Plan* plan = ready_[hyperplanes].load(std::memory_order_acquire);
  if (!plan) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!plans_[hyperplanes]) plans_[hyperplanes] = make(hyperplanes);
    plan = plans_[hyperplanes].get();
    ready_[hyperplanes].store(plan, std::memory_order_release);
  }
  return &plan->view;
}

}  // namespace haste
