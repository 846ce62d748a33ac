// The sizes of a tensor, kept in place, because a run allocates nothing.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace haste::ort {

// Of a tensor of higher rank than kMaxRank, which nobody takes, only the rank and the first sizes.
class Shape {
 public:
  static constexpr size_t kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes) : rank_(sizes.size()) {
    std::copy(sizes.begin(), sizes.end(), sizes_.begin());
  }
  explicit Shape(size_t rank) : rank_(rank) {}

  size_t size() const { return rank_; }
  size_t stored() const { return std::min(rank_, kMaxRank); }
  bool empty() const { return rank_ == 0; }
  int64_t& operator[](size_t i) { return sizes_[i]; }
  int64_t operator[](size_t i) const { return sizes_[i]; }
  int64_t* data() { return sizes_.data(); }
  const int64_t* data() const { return sizes_.data(); }
  bool operator==(const Shape& other) const { return rank_ == other.rank_ && sizes_ == other.sizes_; }
  bool operator!=(const Shape& other) const { return !(*this == other); }

  // -1 where sizes are missing.
  int64_t elements() const {
    if (rank_ > kMaxRank) return -1;
    int64_t count = 1;
    for (size_t i = 0; i < rank_; i++) count *= sizes_[i];
    return count;
  }

  std::string text() const {
    std::string text = "[";
    for (size_t i = 0; i < stored(); i++) text += (i ? "," : "") + std::to_string(sizes_[i]);
    return text + (rank_ > kMaxRank ? ",...]" : "]");
  }

 private:
  std::array<int64_t, kMaxRank> sizes_{};
  size_t rank_ = 0;
};

}  // namespace haste::ort
