#include "geometry.h"

namespace haste {

Geometry make_geometry(const haste_conv_params& p, int lanes) {
  Geometry g;
  g.channels = static_cast<int>(p.in_channels);
  g.filters = static_cast<int>(p.out_channels);
  g.blocks_in = static_cast<int>(ceil_div(g.channels, kBlock));
  g.blocks_out = static_cast<int>(ceil_div(g.filters, kBlock));
  g.kernel_h = static_cast<int>(p.kernel_h);
  g.kernel_w = static_cast<int>(p.kernel_w);
  g.patch = static_cast<int>(p.patch);
  g.window_h = g.patch + g.kernel_h - 1;
  g.window_w = g.patch + g.kernel_w - 1;
  g.window = g.window_h * g.window_w;
  g.strip_w = (kStripPatches - 1) * g.patch + g.window_w;
  const bool square3 = g.kernel_h == 3 && g.kernel_w == 3;
  if (const Tiling t = tiling(g.patch); square3 && t.exists()) {
    g.form = Form::kNested;
    g.slot = t.slot();
    g.bucket_slot = t.bucket_slot(g.patch, g.patch);
    return g;
  }
  if (square3 && g.patch == kSubtile) g.form = Form::kColumns;
  // The last subtile of a patch that is no multiple of three reads past the window; nobody uses what it makes of that.
  const int64_t reach = round_up(g.patch, kSubtile) - 1;
  const int64_t last = (reach + g.kernel_h - 1) * g.window_w + reach + g.kernel_w - 1;
  g.slot = static_cast<int>(round_up(last + 1 > g.window ? last + 1 : g.window, lanes));
  g.bucket_slot = g.slot;
  return g;
}

}  // namespace haste
