# 64-bit x86 Linux, also on such a machine itself: the same bundle, and a library that runs with an older glibc than the builder's.
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(HASTE_TRIPLE x86_64-linux-gnu)
set(HASTE_ARCH_FLAGS "")
include(${CMAKE_CURRENT_LIST_DIR}/linux-gnu.cmake)
