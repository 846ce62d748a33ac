# As aarch64-linux-gnu, with instructions ordered for the Cortex-A53. Runs on every ARMv8 core.
set(HASTE_TUNE cortex-a53)
include(${CMAKE_CURRENT_LIST_DIR}/aarch64-linux-gnu.cmake)
