// What all handlers that call oneDNN share.

#ifndef CNNLAB_NATIVE_ONEDNN_H_
#define CNNLAB_NATIVE_ONEDNN_H_

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>

#include "oneapi/dnnl/dnnl.hpp"
#include "xla/ffi/api/ffi.h"

// Of the OpenMP runtime that oneDNN is linked to, whatever the compiler's own is.
extern "C" void omp_set_num_threads(int);

namespace cnnlab {

constexpr size_t kAlignment = 64;
constexpr size_t kMostPlans = 2048;

inline dnnl::engine& Engine() {
  static dnnl::engine* engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

inline dnnl::stream& Stream() {
  thread_local dnnl::stream stream(Engine());
  return stream;
}

// Memory that a thread keeps between calls; as large as the largest request so far.
class Arena {
 public:
  ~Arena() { std::free(data_); }

  char* Get(size_t size) {
    if (size > size_) {
      std::free(data_);
      size_ = 0;
      const size_t rounded = (size + kAlignment - 1) / kAlignment * kAlignment;
      data_ = std::aligned_alloc(kAlignment, rounded);
      if (data_ == nullptr) throw std::bad_alloc();
      size_ = rounded;
    }
    return static_cast<char*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

// A primitive's working memory, which lasts until the thread's next call.
inline dnnl::memory Scratch(size_t size) {
  thread_local Arena arena;
  const auto bytes = static_cast<dnnl::memory::dim>(size);
  return {{{bytes}, dnnl::memory::data_type::u8, dnnl::memory::format_tag::a},
          Engine(),
          arena.Get(std::max<size_t>(size, 1))};
}

inline dnnl::primitive_attr UserScratch() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

// Returns `make(key)`, made once for each key. Keys are structs of integers without padding.
template <typename Key, typename Make>
auto Cached(const Key& key, const Make& make) {
  using Value = decltype(make(key));
  struct Less {
    bool operator()(const Key& a, const Key& b) const {
      return std::memcmp(&a, &b, sizeof(Key)) < 0;
    }
  };
  static std::mutex* mutex = new std::mutex;
  static auto* values = new std::map<Key, std::shared_ptr<const Value>, Less>;
  {
    std::lock_guard<std::mutex> lock(*mutex);
    const auto found = values->find(key);
    if (found != values->end()) return found->second;
  }
  const auto value = std::make_shared<const Value>(make(key));
  std::lock_guard<std::mutex> lock(*mutex);
  if (values->size() >= kMostPlans) values->clear();
  return values->emplace(key, value).first->second;
}

// Calls `run()`; an exception of oneDNN or the standard library becomes an error of XLA's.
template <typename Run>
xla::ffi::Error Guarded(const Run& run) {
  try {
    run();
  } catch (const dnnl::error& error) {
    return xla::ffi::Error::Internal(std::string("oneDNN: ") + error.what());
  } catch (const std::exception& error) {
    return xla::ffi::Error::Internal(error.what());
  }
  return xla::ffi::Error::Success();
}

inline char* Data(xla::ffi::AnyBuffer& buffer) { return static_cast<char*>(buffer.untyped_data()); }

}  // namespace cnnlab

#endif  // CNNLAB_NATIVE_ONEDNN_H_
