// QEMU plugin: what one inference moves between the last cache of an emulated core and memory.
//
//   qemu-aarch64 -plugin libcache_traffic.so,l1i=49152:3,l1d=32768:2,l2=1048576:16,out=FILE haste-run ... --marks
//
// haste-run says where inferences begin and end by a system call that no kernel knows (cpp_ops/runner/marks.h). Every
// inference adds one line of JSON to FILE. Instructions and every load and store are those of the real aarch64 code of
// the operator library and of ONNX Runtime. Not modelled: prefetchers (and prefetch instructions), write streaming,
// address translation, other cores.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cache_model.h"
#include "qemu_api.h"

extern "C" {
__attribute__((visibility("default"))) int qemu_plugin_version = HASTE_QEMU_PLUGIN_VERSION;
__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc,
                                                               char** argv);
}

namespace haste::simulator {
namespace {

constexpr int64_t kPrctl = 167;  // on aarch64
constexpr uint64_t kMarkCall = 0x48535445;
// Single-threaded inference runs on the thread the program began with. Newer ONNX Runtimes have another one that tends
// to logs and the like, at moments that differ from run to run.
constexpr unsigned kInferenceThread = 0;
enum Mark : uint64_t { kWarm = 1, kFlush = 2, kBegin = 3, kEnd = 4 };

struct Geometry {
  uint64_t bytes = 0;
  unsigned ways = 0;
};

struct Block {
  uint64_t first_line, lines, instructions;
};

struct Simulation {
  Memory memory;
  std::unique_ptr<Cache> l3, l2, l1i, l1d;
  bool running = false;
  uint64_t instructions = 0, loads = 0, stores = 0, l1i_misses = 0, l1d_misses = 0;
  const char* out = nullptr;

  void reset_counts() {
    instructions = loads = stores = l1i_misses = l1d_misses = 0;
    memory.reads = memory.writes = 0;
    for (Cache* cache : {l2.get(), l3.get()})
      if (cache) cache->accesses = cache->misses = 0;
  }
  void flush() {
    l1i->flush();
    l1d->flush();
    l2->flush();
    if (l3) l3->flush();
  }
  uint64_t dirty_lines() const { return l1d->dirty_lines() + l2->dirty_lines() + (l3 ? l3->dirty_lines() : 0); }
};

Simulation simulation;
std::unordered_map<uint64_t, std::vector<std::unique_ptr<Block>>>
    blocks;  // by address; translated anew, a block is reused

void write_record() {
  std::FILE* file = std::fopen(simulation.out, "a");
  if (!file) {
    std::fprintf(stderr, "cache_traffic: cannot write %s\n", simulation.out);
    std::_Exit(1);
  }
  const Simulation& s = simulation;
  std::fprintf(file,
               "{\"instructions\": %" PRIu64 ", \"loads\": %" PRIu64 ", \"stores\": %" PRIu64
               ", \"l1i_misses\": %" PRIu64 ", \"l1d_misses\": %" PRIu64 ", \"l2_misses\": %" PRIu64
               ", \"l3_misses\": %" PRIu64 ", \"read_bytes\": %" PRIu64 ", \"written_bytes\": %" PRIu64
               ", \"dirty_bytes\": %" PRIu64 "}\n",
               s.instructions, s.loads, s.stores, s.l1i_misses, s.l1d_misses, s.l2->misses, s.l3 ? s.l3->misses : 0,
               s.memory.reads << kLineShift, s.memory.writes << kLineShift, s.dirty_lines() << kLineShift);
  std::fclose(file);
}

void on_syscall(qemu_plugin_id_t, unsigned, int64_t number, uint64_t call, uint64_t mark, uint64_t, uint64_t, uint64_t,
                uint64_t, uint64_t, uint64_t) {
  if (number != kPrctl || call != kMarkCall) return;
  switch (mark) {
    case kWarm:
      simulation.running = true;
      break;
    case kFlush:
      simulation.flush();
      break;
    case kBegin:
      simulation.running = true;
      simulation.reset_counts();
      break;
    case kEnd:
      write_record();
      break;
    default:
      break;
  }
}

void on_block(unsigned vcpu, void* data) {
  if (!simulation.running || vcpu != kInferenceThread) return;
  const Block* block = static_cast<const Block*>(data);
  simulation.instructions += block->instructions;
  for (uint64_t i = 0; i < block->lines; i++) {
    if (!simulation.l1i->access(block->first_line + i, false)) simulation.l1i_misses++;
  }
}

void on_memory(unsigned vcpu, qemu_plugin_meminfo_t info, uint64_t address, void*) {
  if (!simulation.running || vcpu != kInferenceThread) return;
  const bool store = qemu_plugin_mem_is_store(info);
  const uint64_t first = address >> kLineShift;
  const uint64_t last = (address + (uint64_t{1} << qemu_plugin_mem_size_shift(info)) - 1) >> kLineShift;
  (store ? simulation.stores : simulation.loads)++;
  if (!simulation.l1d->access(first, store)) simulation.l1d_misses++;
  if (last != first && !simulation.l1d->access(last, store)) simulation.l1d_misses++;
}

Block* block_for(uint64_t address, uint64_t instructions) {
  auto& known = blocks[address];
  for (auto& block : known)
    if (block->instructions == instructions) return block.get();
  const uint64_t first = address >> kLineShift, last = (address + 4 * instructions - 1) >> kLineShift;
  known.push_back(std::make_unique<Block>(Block{first, last - first + 1, instructions}));
  return known.back().get();
}

void on_translation(qemu_plugin_id_t, qemu_plugin_tb* tb) {
  const size_t count = qemu_plugin_tb_n_insns(tb);
  qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS,
                                       block_for(qemu_plugin_tb_vaddr(tb), count));
  for (size_t i = 0; i < count; i++)
    qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), on_memory, QEMU_PLUGIN_CB_NO_REGS,
                                     QEMU_PLUGIN_MEM_RW, nullptr);
}

// "name=BYTES:WAYS"
bool read_geometry(const char* argument, const char* name, Geometry* geometry) {
  const size_t length = std::strlen(name);
  if (std::strncmp(argument, name, length) != 0 || argument[length] != '=') return false;
  return std::sscanf(argument + length + 1, "%" SCNu64 ":%u", &geometry->bytes, &geometry->ways) == 2 &&
         geometry->ways > 0 && (geometry->bytes >> kLineShift) >= geometry->ways;
}

}  // namespace
}  // namespace haste::simulator

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t*, int argc, char** argv) {
  using namespace haste::simulator;
  Geometry l1i, l1d, l2, l3;
  for (int i = 0; i < argc; i++) {
    if (std::strncmp(argv[i], "out=", 4) == 0) {
      simulation.out = argv[i] + 4;
    } else if (!read_geometry(argv[i], "l1i", &l1i) && !read_geometry(argv[i], "l1d", &l1d) &&
               !read_geometry(argv[i], "l2", &l2) && !read_geometry(argv[i], "l3", &l3)) {
      std::fprintf(stderr, "cache_traffic: not understood: %s\n", argv[i]);
      return 1;
    }
  }
  if (!l1i.bytes || !l1d.bytes || !l2.bytes || !simulation.out) {
    std::fprintf(stderr, "cache_traffic: l1i, l1d, l2 (BYTES:WAYS) and out are needed\n");
    return 1;
  }
  if (l3.bytes) simulation.l3 = std::make_unique<Cache>(l3.bytes, l3.ways, &simulation.memory);
  Below* below_l2 = l3.bytes ? static_cast<Below*>(simulation.l3.get()) : &simulation.memory;
  simulation.l2 = std::make_unique<Cache>(l2.bytes, l2.ways, below_l2);
  simulation.l1i = std::make_unique<Cache>(l1i.bytes, l1i.ways, simulation.l2.get());
  simulation.l1d = std::make_unique<Cache>(l1d.bytes, l1d.ways, simulation.l2.get());
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
  return 0;
}
