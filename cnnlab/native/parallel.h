// Work on the threads of XLA's own pool.

#ifndef CNNLAB_NATIVE_PARALLEL_H_
#define CNNLAB_NATIVE_PARALLEL_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "xla/ffi/api/ffi.h"

namespace cnnlab {

inline int64_t Threads(xla::ffi::ThreadPool& pool) {
  return std::max<int64_t>(pool.num_threads(), 1);
}

// Calls `task(index)` for every index below `count`, on the pool's threads and on this one.
//
// Threads of the pool that come late find nothing left, so that this returns as soon as all tasks
// are done, and a busy pool cannot block it. Rethrows an exception of a task.
template <typename Task>
void ParallelFor(xla::ffi::ThreadPool& pool, int64_t count, const Task& task) {
  if (count == 1) return task(0);
  struct State {
    std::atomic<int64_t> next{0}, done{0};
    std::mutex mutex;
    std::condition_variable all_done;
    std::exception_ptr error;
  };
  const auto state = std::make_shared<State>();
  const auto work = [state, count, task = &task] {
    for (int64_t index; (index = state->next.fetch_add(1)) < count;) {
      try {
        (*task)(index);
      } catch (...) {
        std::lock_guard<std::mutex> lock(state->mutex);
        state->error = std::current_exception();
      }
      if (state->done.fetch_add(1) + 1 == count) {
        std::lock_guard<std::mutex> lock(state->mutex);
        state->all_done.notify_all();
      }
    }
  };
  const int64_t helpers = std::min(count, Threads(pool)) - 1;
  for (int64_t helper = 0; helper < helpers; ++helper) {
    auto copy = work;
    pool.Schedule(std::move(copy));
  }
  work();
  // The parts are of equal size: the last one ends soon, and sleeping would take longer.
  for (int spin = 0; spin < 1000 && state->done.load() < count; ++spin) std::this_thread::yield();
  if (state->done.load() < count) {
    std::unique_lock<std::mutex> lock(state->mutex);
    state->all_done.wait(lock, [&] { return state->done.load() == count; });
  }
  if (state->error) std::rethrow_exception(state->error);
}

}  // namespace cnnlab

#endif  // CNNLAB_NATIVE_PARALLEL_H_
