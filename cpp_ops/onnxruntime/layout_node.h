// What HasteMaxPool, HasteAveragePool and HasteReorder read of their nodes, whatever provider runs them.
#pragma once

#include "node.h"

namespace haste::ort {

// Refuses attributes that no kernel supports.
haste_pool_params pool_params(const Node& node, bool is_max);

// The one input; refuses a rank other than four.
Tensor image_input(const Node& node, const OrtKernelContext* context);

}  // namespace haste::ort
