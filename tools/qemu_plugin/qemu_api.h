// The few functions of QEMU's plugin interface that are used here. Distributions ship QEMU with plugins enabled but not
// always its header. Signatures are those of interface version 1 (QEMU 4.2 on) and unchanged in version 2 (QEMU 9.0
// on).
#ifndef HASTE_QEMU_API_H_
#define HASTE_QEMU_API_H_

#include <cstddef>
#include <cstdint>

#ifndef HASTE_QEMU_PLUGIN_VERSION
#define HASTE_QEMU_PLUGIN_VERSION 1
#endif

extern "C" {

using qemu_plugin_id_t = uint64_t;
using qemu_plugin_meminfo_t = uint32_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info_t;

enum { QEMU_PLUGIN_CB_NO_REGS = 0 };
enum { QEMU_PLUGIN_MEM_RW = 3 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, qemu_plugin_tb*));
void qemu_plugin_register_vcpu_tb_exec_cb(qemu_plugin_tb* tb, void (*callback)(unsigned vcpu, void* data), int flags,
                                          void* data);
void qemu_plugin_register_vcpu_mem_cb(qemu_plugin_insn* instruction,
                                      void (*callback)(unsigned vcpu, qemu_plugin_meminfo_t, uint64_t address,
                                                       void* data),
                                      int flags, int read_or_write, void* data);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t id,
                                          void (*callback)(qemu_plugin_id_t, unsigned vcpu, int64_t number, uint64_t,
                                                           uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                           uint64_t));
size_t qemu_plugin_tb_n_insns(const qemu_plugin_tb* tb);
uint64_t qemu_plugin_tb_vaddr(const qemu_plugin_tb* tb);
qemu_plugin_insn* qemu_plugin_tb_get_insn(const qemu_plugin_tb* tb, size_t index);
unsigned qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t info);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t info);

}  // extern "C"

#endif  // HASTE_QEMU_API_H_
