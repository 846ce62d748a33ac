#include "stream.h"

#include <chrono>
#include <utility>

#include "memory.h"

namespace stand_in {

Stream::Stream() {
  if (!locked()) thread_ = std::thread([this] { run(); });
}

Stream::~Stream() {
  if (locked()) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
  }
  filled_.notify_one();
  thread_.join();
}

void Stream::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    filled_.wait(lock, [this] { return ended_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const Work work = std::move(queue_.front());
    queue_.pop_front();
    busy_ = true;
    const auto delay = std::chrono::microseconds(random_() % 8 == 0 ? random_() % 400 : 0);
    lock.unlock();
    if (delay.count() > 0) std::this_thread::sleep_for(delay);
    work();
    lock.lock();
    busy_ = false;
    if (queue_.empty()) idle_.notify_all();
  }
}

void Stream::push(Work work) {
  if (recording_) {
    recording_->push_back(std::move(work));
  } else if (locked()) {
    const Access access;
    work();
  } else {
    const std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(std::move(work));
    filled_.notify_one();
  }
}

void Stream::wait() {
  std::unique_lock<std::mutex> lock(mutex_);
  idle_.wait(lock, [this] { return queue_.empty() && !busy_; });
}

void Stream::record() {
  recording_ = std::make_unique<Recording>();
}

Recording Stream::recorded() {
  return std::move(*std::exchange(recording_, nullptr));
}

void Event::record(Stream& stream) {
  auto state = std::make_shared<State>();
  state->reached = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    state_ = state;
  }
  stream.push([state] {
    const std::lock_guard<std::mutex> lock(state->mutex);
    state->reached = true;
    state->changed.notify_all();
  });
}

void Event::wait() {
  wait_for(*current());
}

void Event::wait_in(Stream& stream) {
  stream.push([state = current()] { wait_for(*state); });
}

void Event::wait_for(State& state) {
  std::unique_lock<std::mutex> lock(state.mutex);
  state.changed.wait(lock, [&state] { return state.reached; });
}

std::shared_ptr<Event::State> Event::current() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return state_;
}

}  // namespace stand_in
