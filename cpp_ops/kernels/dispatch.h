// The kernels of this processor's instruction sets, and which of them are used.
#pragma once

#include "haste/haste.h"
#include "kernels.h"

namespace haste {

// Compiled in and supported here, best first; ends with nullptr.
const Kernels* const* available_kernels();

// Those that convs created from now on use: at first what HASTE_ISA names, or the best.
const Kernels* selected_kernels();
haste_status select_kernels(const char* name);

// HASTE_UNSUPPORTED if HASTE_ISA names others.
haste_status check_wanted_kernels();

}  // namespace haste
