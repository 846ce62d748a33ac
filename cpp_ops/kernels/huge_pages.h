// Weights on huge pages: they are the memory that a run reads from end to end, and with pages of 4 KB every one of them
// costs a walk through the page tables, since they are more than the processor remembers.
#pragma once

#include <cstddef>

namespace haste {

// Asks Linux to put what lies in memory on huge pages, as far as whole ones fit inside; contents and addresses stay.
// Does nothing where the system cannot (before Linux 6.1) or must not ("never").
void move_to_huge_pages(const void* memory, size_t bytes);

}  // namespace haste
