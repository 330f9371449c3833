// Batch normalization: its reductions in one pass over the images, and its gradient in two.
//
// Arrays are seen as [rows, channels]. Two XLA FFI handlers: mean and variance of each channel, and
// the gradient. Short blocks of rows are summed in float32, the blocks in float64.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "parallel.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

constexpr int64_t kBlockRows = 64;

float Read(const float* values, int64_t i) { return values[i]; }

float Read(const uint16_t* values, int64_t i) {  // bfloat16: the upper half of a float32
  const uint32_t bits = static_cast<uint32_t>(values[i]) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

void Write(float* values, int64_t i, float value) { values[i] = value; }

void Write(uint16_t* values, int64_t i, float value) {  // rounds to the nearest, ties to even
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
  values[i] = static_cast<uint16_t>(is_nan ? (bits >> 16) | 0x40 : rounded);
}

struct Size {
  int64_t rows = 1, channels = 1;

  explicit Size(ffi::AnyBuffer::Dimensions dimensions) {
    for (size_t i = 0; i + 1 < dimensions.size(); ++i) rows *= dimensions[i];
    channels = dimensions[dimensions.size() - 1];
  }
};

// Returns sums of 2 * channels values over all rows; `add(row, first, second)` adds one row.
template <typename Add>
std::vector<double> Sums(ffi::ThreadPool& pool, Size size, const Add& add) {
  const int64_t blocks = (size.rows + kBlockRows - 1) / kBlockRows;
  const int64_t parts = std::min(cnnlab::Threads(pool), blocks);
  const int64_t width = 2 * size.channels;
  std::vector<std::vector<double>> totals(parts);
  cnnlab::ParallelFor(pool, parts, [&](int64_t part) {
    std::vector<double>& total = totals[part];
    total.assign(width, 0.0);
    std::vector<float> block(width);
    for (int64_t b = blocks * part / parts; b < blocks * (part + 1) / parts; ++b) {
      std::fill(block.begin(), block.end(), 0.0f);
      const int64_t end = std::min(size.rows, (b + 1) * kBlockRows);
      for (int64_t row = b * kBlockRows; row < end; ++row) {
        add(row, block.data(), block.data() + size.channels);
      }
      for (int64_t i = 0; i < width; ++i) total[i] += block[i];
    }
  });
  for (int64_t part = 1; part < parts; ++part) {
    for (int64_t i = 0; i < width; ++i) totals[0][i] += totals[part][i];
  }
  return totals[0];
}

template <typename T>
void Moments(ffi::ThreadPool& pool, Size size, const void* data, float* mean, float* variance) {
  const T* x = static_cast<const T*>(data);
  const int64_t channels = size.channels;
  // Distances from the first row keep the variance exact where the mean is large.
  std::vector<float> origin(channels);
  for (int64_t i = 0; i < channels; ++i) origin[i] = Read(x, i);
  const float* __restrict from = origin.data();
  const auto add = [=](int64_t row, float* __restrict sum, float* __restrict squares) {
    const T* __restrict values = x + row * channels;
#pragma omp simd
    for (int64_t i = 0; i < channels; ++i) {
      const float distance = Read(values, i) - from[i];
      sum[i] += distance;
      squares[i] += distance * distance;
    }
  };
  const std::vector<double> sums = Sums(pool, size, add);
  for (int64_t i = 0; i < channels; ++i) {
    const double shift = sums[i] / size.rows;
    mean[i] = static_cast<float>(origin[i] + shift);
    variance[i] = static_cast<float>(std::max(0.0, sums[channels + i] / size.rows - shift * shift));
  }
}

struct GradientBuffers {
  const void *out, *x;  // cotangent of the output, and the input
  const float *mean, *variance, *scale;
  void* of_x;
  float *of_scale, *of_bias;
};

// y = (x - mean) * inverse * scale + bias, where mean and inverse = 1/sqrt(variance + epsilon)
// follow from x. With d the cotangent of y and m the means over rows, that of x is
// scale * inverse * (d - m(d) - (x - mean) * inverse^2 * m(d * (x - mean))).
template <typename Y, typename X>
void Gradient(ffi::ThreadPool& pool, Size size, float epsilon, const GradientBuffers& buffers) {
  const Y* y = static_cast<const Y*>(buffers.out);
  const X* x = static_cast<const X*>(buffers.x);
  X* of_x = static_cast<X*>(buffers.of_x);
  const int64_t channels = size.channels;
  const float* __restrict mean = buffers.mean;
  const auto add = [=](int64_t row, float* __restrict sum, float* __restrict products) {
    const X* __restrict values = x + row * channels;
    const Y* __restrict cotangents = y + row * channels;
#pragma omp simd
    for (int64_t i = 0; i < channels; ++i) {
      const float cotangent = Read(cotangents, i);
      sum[i] += cotangent;
      products[i] += cotangent * (Read(values, i) - mean[i]);
    }
  };
  const std::vector<double> sums = Sums(pool, size, add);
  std::vector<float> factors(3 * channels);
  float *__restrict of_out = factors.data(), *__restrict of_distance = of_out + channels,
        *__restrict constant = of_distance + channels;
  for (int64_t i = 0; i < channels; ++i) {
    const double inverse = 1.0 / std::sqrt(static_cast<double>(buffers.variance[i]) + epsilon);
    const double factor = buffers.scale[i] * inverse;
    buffers.of_bias[i] = static_cast<float>(sums[i]);
    buffers.of_scale[i] = static_cast<float>(sums[channels + i] * inverse);
    of_out[i] = static_cast<float>(factor);
    of_distance[i] =
        static_cast<float>(-factor * inverse * inverse * sums[channels + i] / size.rows);
    constant[i] = static_cast<float>(-factor * sums[i] / size.rows);
  }
  const int64_t parts = std::min(cnnlab::Threads(pool), size.rows);
  cnnlab::ParallelFor(pool, parts, [&](int64_t part) {
    for (int64_t row = size.rows * part / parts; row < size.rows * (part + 1) / parts; ++row) {
      const X* __restrict values = x + row * channels;
      const Y* __restrict cotangents = y + row * channels;
      X* __restrict results = of_x + row * channels;
#pragma omp simd
      for (int64_t i = 0; i < channels; ++i) {
        const float distance = Read(values, i) - mean[i];
        const float result =
            of_out[i] * Read(cotangents, i) + of_distance[i] * distance + constant[i];
        Write(results, i, result);
      }
    }
  });
}

ffi::Error HandleMoments(ffi::ThreadPool pool, ffi::AnyBuffer x,
                         ffi::Result<ffi::Buffer<ffi::F32>> mean,
                         ffi::Result<ffi::Buffer<ffi::F32>> variance) {
  const auto moments = x.element_type() == ffi::DataType::BF16 ? Moments<uint16_t> : Moments<float>;
  moments(pool, Size(x.dimensions()), x.untyped_data(), mean->typed_data(), variance->typed_data());
  return ffi::Error::Success();
}

ffi::Error HandleGradient(ffi::ThreadPool pool, ffi::AnyBuffer out, ffi::AnyBuffer x,
                          ffi::Buffer<ffi::F32> mean, ffi::Buffer<ffi::F32> variance,
                          ffi::Buffer<ffi::F32> scale, ffi::Result<ffi::AnyBuffer> of_x,
                          ffi::Result<ffi::Buffer<ffi::F32>> of_scale,
                          ffi::Result<ffi::Buffer<ffi::F32>> of_bias, float epsilon) {
  const bool half_x = x.element_type() == ffi::DataType::BF16;
  const bool half_y = out.element_type() == ffi::DataType::BF16;
  const auto gradient = half_y ? (half_x ? Gradient<uint16_t, uint16_t> : Gradient<uint16_t, float>)
                               : (half_x ? Gradient<float, uint16_t> : Gradient<float, float>);
  gradient(pool, Size(x.dimensions()), epsilon,
           {out.untyped_data(), x.untyped_data(), mean.typed_data(), variance.typed_data(),
            scale.typed_data(), of_x->untyped_data(), of_scale->typed_data(),
            of_bias->typed_data()});
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(cnnlab_moments, HandleMoments,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(cnnlab_batch_norm_gradient, HandleGradient,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>()
                                  .Attr<float>("epsilon"));
