/* What an older glibc lacks and the statically linked C++ run-time library, built against a newer one, asks for.
 * Compiled with hidden visibility: nothing here is seen outside the binary that carries it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Since 2.34 the start-up object passes no constructor runner to __libc_start_main: a newer libc runs the constructors itself, an older
 * one would run none. Passing one makes both run them, once. */
typedef int main_function(int, char**, char**);
extern int old_libc_start_main(main_function*, int, char**, void (*)(int, char**, char**), void (*)(void), void (*)(void), void*);
#if defined(__aarch64__)
__asm__(".symver old_libc_start_main, __libc_start_main@GLIBC_2.17");
#elif defined(__x86_64__)
__asm__(".symver old_libc_start_main, __libc_start_main@GLIBC_2.2.5");
#elif defined(__arm__)
__asm__(".symver old_libc_start_main, __libc_start_main@GLIBC_2.4");
#else
#error "unknown target"
#endif

typedef void constructor(int, char**, char**);
extern constructor *__preinit_array_start[], *__preinit_array_end[], *__init_array_start[], *__init_array_end[];
#pragma weak __preinit_array_start
#pragma weak __preinit_array_end
#pragma weak __init_array_start
#pragma weak __init_array_end
extern void _init(void);
#pragma weak _init

static void run_constructors(int argc, char** argv, char** envp) {
  for (constructor** f = __preinit_array_start; f != __preinit_array_end; f++) (*f)(argc, argv, envp);
  if (_init) _init();
  for (constructor** f = __init_array_start; f != __init_array_end; f++) (*f)(argc, argv, envp);
}

int __libc_start_main(main_function* main, int argc, char** argv, void (*init)(int, char**, char**), void (*fini)(void),
                      void (*rtld_fini)(void), void* stack_end);
int __libc_start_main(main_function* main, int argc, char** argv, void (*init)(int, char**, char**), void (*fini)(void),
                      void (*rtld_fini)(void), void* stack_end) {
  return old_libc_start_main(main, argc, argv, init ? init : run_constructors, fini, rtld_fini, stack_end);
}

/* 2.32. The run-time library skips atomic operations while this is true; false is always right. */
char __libc_single_threaded = 0;

/* 2.33 made these real functions; before, headers turned them into calls with a version of struct stat. */
#if defined(__aarch64__)
#define STAT_VERSION 0
#elif defined(__x86_64__)
#define STAT_VERSION 1
#else
#define STAT_VERSION 3
#endif
extern int __fxstat(int, int, struct stat*);
extern int __fxstat64(int, int, struct stat64*);
extern int __xstat(int, const char*, struct stat*);
extern int __xstat64(int, const char*, struct stat64*);
int fstat(int fd, struct stat* out) { return __fxstat(STAT_VERSION, fd, out); }
int fstat64(int fd, struct stat64* out) { return __fxstat64(STAT_VERSION, fd, out); }
int stat(const char* path, struct stat* out) { return __xstat(STAT_VERSION, path, out); }
int stat64(const char* path, struct stat64* out) { return __xstat64(STAT_VERSION, path, out); }

/* 2.36; std::random_device wants it. */
uint32_t arc4random(void) {
  uint32_t value;
  if (getentropy(&value, sizeof value) != 0) abort();
  return value;
}

#ifdef DLFO_STRUCT_HAS_EH_DBASE /* the header knows dl_find_object, so the exception unwinder wants it (2.35) */
struct search {
  const char* address;
  struct dl_find_object* found;
};

static int match_object(struct dl_phdr_info* info, size_t size, void* state) {
  (void)size;
  const struct search* search = state;
  const char *eh_frame = NULL, *begin = NULL, *end = NULL;
  int holds = 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr)* header = &info->dlpi_phdr[i];
    const char* start = (const char*)info->dlpi_addr + header->p_vaddr;
    if (header->p_type == PT_GNU_EH_FRAME) eh_frame = start;
    if (header->p_type != PT_LOAD) continue;
    if (!begin || start < begin) begin = start;
    if (start + header->p_memsz > end) end = start + header->p_memsz;
    holds |= search->address >= start && search->address < start + header->p_memsz;
  }
  if (!holds || !eh_frame) return 0;
  search->found->dlfo_flags = 0;
  search->found->dlfo_map_start = (void*)begin;
  search->found->dlfo_map_end = (void*)end;
  search->found->dlfo_link_map = NULL;
  search->found->dlfo_eh_frame = (void*)eh_frame;
  return 1;
}

int _dl_find_object(void* address, struct dl_find_object* found) {
  struct search search = {address, found};
  return dl_iterate_phdr(match_object, &search) ? 0 : -1;
}
#endif
