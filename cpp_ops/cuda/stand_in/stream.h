// Streams of the stand-in: a thread that works off a queue, and takes its time now and then. Where device memory is
// locked, whoever gives a stream work does it himself.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace stand_in {

using Work = std::function<void()>;
using Recording = std::vector<Work>;  // what a captured graph does

class Stream {
 public:
  Stream();
  ~Stream();  // when all its work is done
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void push(Work work);
  void wait();  // until all work is done

  void record();  // instead of doing it
  Recording recorded();
  bool is_recording() const { return recording_ != nullptr; }

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable filled_, idle_;
  std::deque<Work> queue_;
  bool busy_ = false, ended_ = false;
  std::unique_ptr<Recording> recording_;
  std::minstd_rand random_{1};
  std::thread thread_;
};

// A place in a stream's work.
class Event {
 public:
  void record(Stream& stream);
  void wait();                   // of the host
  void wait_in(Stream& stream);  // of a stream

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    bool reached = true;
  };
  static void wait_for(State& state);
  std::shared_ptr<State> current();

  std::mutex mutex_;
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace stand_in
