# 32-bit ARMv7 Linux with NEON and fused multiply-add: Cortex-A7, A15 and later, and 32-bit systems on ARMv8 cores.
set(CMAKE_SYSTEM_PROCESSOR armv7l)
set(HASTE_TRIPLE arm-linux-gnueabihf)
set(HASTE_ARCH_FLAGS "-march=armv7-a+neon-vfpv4 -mfpu=neon-vfpv4 -mfloat-abi=hard -mthumb -Wno-psabi")
include(${CMAKE_CURRENT_LIST_DIR}/linux-gnu.cmake)
