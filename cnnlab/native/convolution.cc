// Convolutions of XLA's CPU programs, computed by oneDNN's primitives.
//
// Three XLA FFI handlers: the convolution, its gradient of the images and its gradient of the
// kernel. Images are [batch, height, width, channels], kernels [height, width, in / groups, out].
//
// The batch is divided into one part for each thread of XLA's own pool, and oneDNN runs each part
// on one thread. A second pool (OpenMP's) would compete with XLA's for the same cores.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "onednn.h"
#include "parallel.h"

namespace ffi = xla::ffi;
using dnnl::memory;

namespace {

using cnnlab::Engine;
using cnnlab::Stream;
using cnnlab::kAlignment;

constexpr int64_t kRange = 1 << 16;  // elements that are worth a thread of their own

enum Kind : int64_t { kForward, kImages, kKernel };

// One convolution's sizes; also the key under which its primitives are kept.
struct Problem {
  int64_t kind, bf16, batch, height, width, in, out, window_h, window_w, out_h, out_w;
  int64_t stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w, groups, threads;
};

// The primitives of a problem, which any thread may execute.
struct Plan {
  dnnl::primitive convolution;
  dnnl::reorder reorder;  // between the caller's kernel and oneDNN's
  memory::desc images, outputs, kernel, plain_kernel;
  size_t scratch, reorder_scratch;
  bool reorders;
};

// For the kernel in oneDNN's own layout, or the parts' gradients of it.
cnnlab::Arena& KernelBuffer() {
  thread_local cnnlab::Arena arena;
  return arena;
}

memory::data_type Type(const Problem& p) {
  return p.bf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

memory::desc KernelDesc(const Problem& p, memory::data_type type, bool any) {
  using tag = memory::format_tag;
  if (p.groups == 1) {
    return {{p.out, p.in, p.window_h, p.window_w}, type, any ? tag::any : tag::hwio};
  }
  return {{p.groups, p.out / p.groups, p.in / p.groups, p.window_h, p.window_w},
          type,
          any ? tag::any : tag::hwigo};
}

// The zeros after the last row or column, as few as give the output's size.
int64_t PadAfter(int64_t size, int64_t window, int64_t out, int64_t stride, int64_t dilation,
                 int64_t before) {
  return (out - 1) * stride + dilation * (window - 1) + 1 - size - before;
}

// Makes the primitives for `p`; `layout` is the kernel's, or null for the fastest.
Plan MakePlan(const Problem& p, const memory::desc* layout) {
  using tag = memory::format_tag;
  const auto algorithm = dnnl::algorithm::convolution_direct;
  Plan plan;
  plan.images = {{p.batch, p.in, p.height, p.width}, Type(p), tag::nhwc};
  plan.outputs = {{p.batch, p.out, p.out_h, p.out_w}, Type(p), tag::nhwc};
  plan.plain_kernel = KernelDesc(p, Type(p), false);
  const memory::dims strides{p.stride_h, p.stride_w};
  const memory::dims dilation{p.dilation_h - 1, p.dilation_w - 1};  // oneDNN counts the gaps
  const memory::dims before{p.pad_h, p.pad_w};
  const memory::dims after{
      PadAfter(p.height, p.window_h, p.out_h, p.stride_h, p.dilation_h, p.pad_h),
      PadAfter(p.width, p.window_w, p.out_w, p.stride_w, p.dilation_w, p.pad_w)};
  const dnnl::primitive_attr attributes = cnnlab::UserScratch();
  // Partial gradients of a bfloat16 kernel are summed in float32.
  const auto kernel_type = p.kind == kKernel ? memory::data_type::f32 : Type(p);
  const memory::desc kernel = layout ? *layout : KernelDesc(p, kernel_type, true);
  const auto finish = [&](const auto& primitive, const memory::desc& chosen) {
    plan.convolution = dnnl::primitive(primitive.get());
    plan.kernel = chosen;
    plan.scratch = primitive.scratchpad_desc().get_size();
  };
  dnnl::convolution_forward::primitive_desc forward(
      Engine(),
      p.kind == kForward ? dnnl::prop_kind::forward_inference : dnnl::prop_kind::forward_training,
      algorithm, plan.images, p.kind == kForward ? kernel : KernelDesc(p, Type(p), true),
      plan.outputs, strides, dilation, before, after, attributes);
  if (p.kind == kForward) {
    finish(forward, forward.weights_desc());
  } else if (p.kind == kImages) {
    dnnl::convolution_backward_data::primitive_desc backward(
        Engine(), algorithm, plan.images, kernel, plan.outputs, strides, dilation, before, after,
        forward, attributes);
    finish(backward, backward.weights_desc());
  } else {
    dnnl::convolution_backward_weights::primitive_desc backward(
        Engine(), algorithm, plan.images, kernel, plan.outputs, strides, dilation, before, after,
        forward, attributes);
    finish(backward, backward.diff_weights_desc());
  }
  plan.reorders = plan.kernel != plan.plain_kernel;
  if (plan.reorders) {
    const bool to_plain = p.kind == kKernel;
    dnnl::reorder::primitive_desc reorder(
        Engine(), to_plain ? plan.kernel : plan.plain_kernel, Engine(),
        to_plain ? plan.plain_kernel : plan.kernel, attributes);
    plan.reorder = dnnl::reorder(reorder);
    plan.reorder_scratch = reorder.scratchpad_desc().get_size();
  }
  return plan;
}

// The parts into which a batch is divided, each computed by one task. Sizes differ by one at most.
struct Division {
  int64_t parts, batch;
  Plan large, small;  // of the larger and the smaller part; their kernels have the same layout

  int64_t Start(int64_t index) const { return batch * index / parts; }
  int64_t Size(int64_t index) const { return Start(index + 1) - Start(index); }
  const Plan& PlanOf(int64_t index) const {
    return Size(index) * parts < batch ? small : large;
  }
};

Division Divide(const Problem& p) {
  Division division;
  division.batch = p.batch;
  division.parts = std::min(p.threads, p.batch);
  Problem part = p;
  part.batch = (p.batch + division.parts - 1) / division.parts;
  division.large = division.small = MakePlan(part, nullptr);
  if (p.batch % division.parts) {
    --part.batch;
    division.small = MakePlan(part, &division.large.kernel);
  }
  return division;
}

void Reorder(const Plan& plan, void* from, void* to, bool to_plain) {
  memory source(to_plain ? plan.kernel : plan.plain_kernel, Engine(), from);
  memory target(to_plain ? plan.plain_kernel : plan.kernel, Engine(), to);
  plan.reorder.execute(Stream(), {{DNNL_ARG_FROM, source},
                                  {DNNL_ARG_TO, target},
                                  {DNNL_ARG_SCRATCHPAD, cnnlab::Scratch(plan.reorder_scratch)}});
}

struct Names {
  int images, outputs, kernel;
};

void Convolve(const Problem& p, const Plan& plan, char* images, char* outputs, char* kernel) {
  static constexpr Names kNames[] = {
      {DNNL_ARG_SRC, DNNL_ARG_DST, DNNL_ARG_WEIGHTS},
      {DNNL_ARG_DIFF_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS},
      {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS}};
  const Names& names = kNames[p.kind];
  plan.convolution.execute(Stream(), {{names.images, memory(plan.images, Engine(), images)},
                                      {names.outputs, memory(plan.outputs, Engine(), outputs)},
                                      {names.kernel, memory(plan.kernel, Engine(), kernel)},
                                      {DNNL_ARG_SCRATCHPAD, cnnlab::Scratch(plan.scratch)}});
}

// Adds the parts' kernels, each `bytes` after the one before, to the first; always in this order.
void AddUp(ffi::ThreadPool& pool, char* partial, size_t bytes, int64_t parts) {
  const int64_t elements = bytes / sizeof(float);
  const int64_t ranges = std::min(cnnlab::Threads(pool), (elements + kRange - 1) / kRange);
  cnnlab::ParallelFor(pool, ranges, [&](int64_t range) {
    const int64_t low = elements * range / ranges, high = elements * (range + 1) / ranges;
    float* __restrict total = reinterpret_cast<float*>(partial);
    for (int64_t part = 1; part < parts; ++part) {
      const float* __restrict other = reinterpret_cast<float*>(partial + bytes * part);
      for (int64_t i = low; i < high; ++i) total[i] += other[i];
    }
  });
}

void Run(ffi::ThreadPool& pool, Problem p, char* images, char* outputs, char* kernel) {
  const int64_t item = p.bf16 ? 2 : 4;
  const int64_t image = p.height * p.width * p.in * item;
  const int64_t output = p.out_h * p.out_w * p.out * item;
  p.threads = cnnlab::Threads(pool);
  // With fewer images than threads, oneDNN divides each image between several threads.
  const int64_t threads_each = std::max<int64_t>(p.threads / p.batch, 1);
  omp_set_num_threads(threads_each);  // oneDNN divides the work when a primitive is made
  const auto division = cnnlab::Cached(p, Divide);
  const Plan& plan = division->large;
  const int64_t parts = division->parts;
  const size_t bytes = (plan.kernel.get_size() + kAlignment - 1) / kAlignment * kAlignment;
  if (p.kind != kKernel) {
    char* own = kernel;
    if (plan.reorders) Reorder(plan, kernel, own = KernelBuffer().Get(bytes), false);
    cnnlab::ParallelFor(pool, parts, [&](int64_t index) {
      omp_set_num_threads(threads_each);
      const int64_t start = division->Start(index);
      Convolve(p, division->PlanOf(index), images + start * image, outputs + start * output, own);
    });
    return;
  }
  char* partial = KernelBuffer().Get(bytes * parts);
  cnnlab::ParallelFor(pool, parts, [&](int64_t index) {
    omp_set_num_threads(threads_each);
    const int64_t start = division->Start(index);
    Convolve(p, division->PlanOf(index), images + start * image, outputs + start * output,
             partial + bytes * index);
  });
  AddUp(pool, partial, bytes, parts);
  if (plan.reorders) {
    Reorder(plan, partial, kernel, true);
  } else {
    std::memcpy(kernel, partial, plan.kernel.get_size());
  }
}

ffi::Error Handle(Kind kind, ffi::ThreadPool pool, ffi::AnyBuffer& images, ffi::AnyBuffer& outputs,
                  ffi::AnyBuffer& kernel, ffi::Span<const int64_t> strides,
                  ffi::Span<const int64_t> padding, ffi::Span<const int64_t> dilation,
                  int64_t groups) {
  const auto x = images.dimensions(), y = outputs.dimensions(), k = kernel.dimensions();
  Problem p{};
  p.kind = kind;
  p.bf16 = images.element_type() == ffi::DataType::BF16;
  p.batch = x[0], p.height = x[1], p.width = x[2], p.in = x[3];
  p.out_h = y[1], p.out_w = y[2], p.out = y[3];
  p.window_h = k[0], p.window_w = k[1];
  p.stride_h = strides[0], p.stride_w = strides[1];
  p.dilation_h = dilation[0], p.dilation_w = dilation[1];
  p.pad_h = padding[0], p.pad_w = padding[1];
  p.groups = groups;
  return cnnlab::Guarded(
      [&] { Run(pool, p, cnnlab::Data(images), cnnlab::Data(outputs), cnnlab::Data(kernel)); });
}

ffi::Error Forward(ffi::ThreadPool pool, ffi::AnyBuffer images, ffi::AnyBuffer kernel,
                   ffi::Result<ffi::AnyBuffer> outputs, ffi::Span<const int64_t> strides,
                   ffi::Span<const int64_t> padding, ffi::Span<const int64_t> dilation,
                   int64_t groups) {
  return Handle(kForward, pool, images, *outputs, kernel, strides, padding, dilation, groups);
}

ffi::Error ImagesGradient(ffi::ThreadPool pool, ffi::AnyBuffer outputs, ffi::AnyBuffer kernel,
                          ffi::Result<ffi::AnyBuffer> images, ffi::Span<const int64_t> strides,
                          ffi::Span<const int64_t> padding, ffi::Span<const int64_t> dilation,
                          int64_t groups) {
  return Handle(kImages, pool, *images, outputs, kernel, strides, padding, dilation, groups);
}

ffi::Error KernelGradient(ffi::ThreadPool pool, ffi::AnyBuffer images, ffi::AnyBuffer outputs,
                          ffi::Result<ffi::AnyBuffer> kernel, ffi::Span<const int64_t> strides,
                          ffi::Span<const int64_t> padding, ffi::Span<const int64_t> dilation,
                          int64_t groups) {
  return Handle(kKernel, pool, images, outputs, *kernel, strides, padding, dilation, groups);
}

auto Binding() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>()
      .Ret<ffi::AnyBuffer>()
      .Attr<ffi::Span<const int64_t>>("strides")
      .Attr<ffi::Span<const int64_t>>("padding")
      .Attr<ffi::Span<const int64_t>>("dilation")
      .Attr<int64_t>("groups");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(cnnlab_conv, Forward, Binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(cnnlab_conv_images_gradient, ImagesGradient, Binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(cnnlab_conv_kernel_gradient, KernelGradient, Binding());

extern "C" const char* cnnlab_onednn_version() {
  static const std::string version = [] {
    const dnnl_version_t* v = dnnl_version();
    return std::to_string(v->major) + "." + std::to_string(v->minor) + "." +
           std::to_string(v->patch);
  }();
  return version.c_str();
}

// Whether the processor multiplies bfloat16 itself; otherwise oneDNN would emulate it, or refuse.
extern "C" int cnnlab_computes_bfloat16() {
  const int isa = static_cast<int>(dnnl::get_effective_cpu_isa());
  const int needed = static_cast<int>(dnnl::cpu_isa::avx512_core_bf16);
  return (isa & needed) == needed;
}
