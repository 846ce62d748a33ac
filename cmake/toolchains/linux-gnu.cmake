# What every cross build with Debian's g++-<triple> shares. Included by <triple>.cmake, which sets HASTE_TRIPLE.
#
# HASTE_TUNE       a processor for -mtune, e.g. cortex-a72: order and choice of instructions, never which exist
# HASTE_GLIBC_STUBS  folder written by tools/bundle/glibc_stub.py: the result then runs with an older glibc than the one installed here
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_CXX_COMPILER ${HASTE_TRIPLE}-g++)
set(CMAKE_C_COMPILER ${HASTE_TRIPLE}-gcc)
set(CMAKE_FIND_ROOT_PATH /usr/${HASTE_TRIPLE})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# CMake compiles its probes in folders of their own that read this file again: they need the same values.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES HASTE_TUNE HASTE_GLIBC_STUBS)

set(CMAKE_CXX_FLAGS_INIT "${HASTE_ARCH_FLAGS}")
set(CMAKE_C_FLAGS_INIT "${HASTE_ARCH_FLAGS}")
if(HASTE_TUNE)
  string(APPEND CMAKE_CXX_FLAGS_INIT " -mtune=${HASTE_TUNE}")
  string(APPEND CMAKE_C_FLAGS_INIT " -mtune=${HASTE_TUNE}")
endif()

# Boards have no libstdc++ of the right age, if any.
set(HASTE_LINK_FLAGS "-static-libstdc++ -static-libgcc")
if(HASTE_GLIBC_STUBS)
  # Before glibc 2.34, threads and dlopen lived in libraries of their own: name them, so that an older system finds the functions.
  string(APPEND HASTE_LINK_FLAGS " -L${HASTE_GLIBC_STUBS} -Wl,-z,defs -Wl,--no-as-needed,-l:libpthread.so.0")
  set(CMAKE_EXE_LINKER_FLAGS_INIT "${HASTE_LINK_FLAGS} -Wl,-l:libdl.so.2,--as-needed")
  set(CMAKE_SHARED_LINKER_FLAGS_INIT "${HASTE_LINK_FLAGS} -Wl,--as-needed")
else()
  set(CMAKE_EXE_LINKER_FLAGS_INIT "${HASTE_LINK_FLAGS}")
  set(CMAKE_SHARED_LINKER_FLAGS_INIT "${HASTE_LINK_FLAGS}")
endif()
