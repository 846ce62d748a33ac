# 64-bit ARM Linux: Raspberry Pi 3 to 5 with a 64-bit system, i.MX8M, Odroid N2, Jetson. ARMv8.0, so NEON is always there.
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(HASTE_TRIPLE aarch64-linux-gnu)
set(HASTE_ARCH_FLAGS "-march=armv8-a")
include(${CMAKE_CURRENT_LIST_DIR}/linux-gnu.cmake)
