// This instruction set's row of the kernel table.

#include "isa.h"

#define HASTE_STRING_(x) #x
#define HASTE_STRING(x) HASTE_STRING_(x)

namespace haste {
namespace HASTE_NS {

extern const Kernels kKernels;
const Kernels kKernels = {
    HASTE_STRING(HASTE_ISA),
    kLanes,
    kManyRegisters ? kMaxBlocks : 1,
    hash,
    merge,
    convolve_columns,
    convolve_nested,
    convolve_direct,
    pool,
    planes_to_blocked,
    blocked_to_planes,
    multiply_adds,
};

}  // namespace HASTE_NS
}  // namespace haste
