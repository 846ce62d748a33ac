// A write-back, write-allocate cache hierarchy with least-recently-used replacement, counting lines that cross its
// levels.
#ifndef HASTE_CACHE_MODEL_H_
#define HASTE_CACHE_MODEL_H_

#include <cstdint>
#include <vector>

namespace haste::simulator {

constexpr unsigned kLineShift = 6;  // 64-byte lines, as in every core modelled

// What a level below the first asks for. The last one is memory.
class Below {
 public:
  virtual ~Below() = default;
  virtual void fetch(uint64_t line) = 0;
  virtual void write_back(uint64_t line) = 0;
};

class Memory : public Below {
 public:
  void fetch(uint64_t) override { reads++; }
  void write_back(uint64_t) override { writes++; }
  uint64_t reads = 0, writes = 0;  // lines
};

class Cache : public Below {
 public:
  Cache(uint64_t bytes, unsigned ways, Below* below)
      : ways_(ways), sets_((bytes >> kLineShift) / ways), below_(below), entries_(sets_ * ways) {}

  // True when the line was there. Otherwise it is fetched, and a dirty victim written back.
  bool access(uint64_t line, bool write) {
    Entry* set = &entries_[line % sets_ * ways_];
    for (unsigned way = 0; way < ways_; way++) {
      if (set[way].line == line + 1) {
        const Entry hit = set[way];
        for (; way > 0; way--) set[way] = set[way - 1];
        set[0] = {hit.line, hit.dirty || write};
        return true;
      }
    }
    insert(set, line, write, true);
    return false;
  }

  void fetch(uint64_t line) override {
    accesses++;
    misses += !access(line, false);
  }

  // A dirty line of the level above. It is complete, so a missing one needs no fetch; its recency is left alone.
  void write_back(uint64_t line) override {
    Entry* set = &entries_[line % sets_ * ways_];
    for (unsigned way = 0; way < ways_; way++) {
      if (set[way].line == line + 1) {
        set[way].dirty = true;
        return;
      }
    }
    insert(set, line, true, false);
  }

  // Writes everything dirty back and forgets every line.
  void flush() {
    for (Entry& entry : entries_) {
      if (entry.line && entry.dirty) below_->write_back(entry.line - 1);
      entry = Entry();
    }
  }

  uint64_t dirty_lines() const {
    uint64_t count = 0;
    for (const Entry& entry : entries_) count += entry.line && entry.dirty;
    return count;
  }

  uint64_t accesses = 0, misses = 0;

 private:
  struct Entry {
    uint64_t line = 0;  // line number + 1; 0: empty
    bool dirty = false;
  };

  void insert(Entry* set, uint64_t line, bool dirty, bool fetch_it) {
    const Entry victim = set[ways_ - 1];
    for (unsigned way = ways_ - 1; way > 0; way--) set[way] = set[way - 1];
    set[0] = {line + 1, dirty};
    if (victim.line && victim.dirty) below_->write_back(victim.line - 1);
    if (fetch_it) below_->fetch(line);
  }

  unsigned ways_;
  uint64_t sets_;
  Below* below_;
  std::vector<Entry> entries_;  // per set, the most recently used first
};

}  // namespace haste::simulator

#endif  // HASTE_CACHE_MODEL_H_
