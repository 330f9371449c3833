// Products of many matrices, computed by oneDNN: a part of the batch on each of XLA's threads.

#include <cstdint>

#include "onednn.h"
#include "parallel.h"

namespace ffi = xla::ffi;
using dnnl::memory;

namespace {

// [batch, rows, inner] x [batch, inner, columns]; a transposed operand has its last axes exchanged.
struct Problem {
  int64_t bf16, batch, rows, inner, columns, transposed_a, transposed_b;
};

struct Plan {
  dnnl::primitive primitive;
  memory::desc a, b, out;
  size_t scratch;
};

memory::desc Matrices(const Problem& p, int64_t rows, int64_t columns, bool transposed) {
  using tag = memory::format_tag;
  const auto type = p.bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  return {{p.batch, rows, columns}, type, transposed ? tag::acb : tag::abc};
}

Plan MakePlan(const Problem& p) {
  Plan plan;
  plan.a = Matrices(p, p.rows, p.inner, p.transposed_a);
  plan.b = Matrices(p, p.inner, p.columns, p.transposed_b);
  plan.out = Matrices(p, p.rows, p.columns, false);
  const dnnl::matmul::primitive_desc description(cnnlab::Engine(), plan.a, plan.b, plan.out,
                                                 cnnlab::UserScratch());
  plan.primitive = dnnl::matmul(description);
  plan.scratch = description.scratchpad_desc().get_size();
  return plan;
}

void Multiply(ffi::ThreadPool& pool, const Problem& p, char* a, char* b, char* out) {
  const int64_t item = p.bf16 ? 2 : 4;
  const int64_t parts = std::min(cnnlab::Threads(pool), p.batch);
  cnnlab::ParallelFor(pool, parts, [&](int64_t part) {
    omp_set_num_threads(1);
    const int64_t start = p.batch * part / parts;
    Problem own = p;
    own.batch = p.batch * (part + 1) / parts - start;
    const auto plan = cnnlab::Cached(own, MakePlan);
    const auto at = [&](const memory::desc& desc, char* data, int64_t elements) {
      return memory(desc, cnnlab::Engine(), data + start * elements * item);
    };
    plan->primitive.execute(cnnlab::Stream(),
                            {{DNNL_ARG_SRC, at(plan->a, a, p.rows * p.inner)},
                             {DNNL_ARG_WEIGHTS, at(plan->b, b, p.inner * p.columns)},
                             {DNNL_ARG_DST, at(plan->out, out, p.rows * p.columns)},
                             {DNNL_ARG_SCRATCHPAD, cnnlab::Scratch(plan->scratch)}});
  });
}

ffi::Error Handle(ffi::ThreadPool pool, ffi::AnyBuffer a, ffi::AnyBuffer b,
                  ffi::Result<ffi::AnyBuffer> out, bool transposed_a, bool transposed_b) {
  const auto shape = out->dimensions(), of_a = a.dimensions();
  const size_t axes = shape.size();
  Problem p{};
  p.bf16 = out->element_type() == ffi::DataType::BF16;
  p.batch = 1;
  for (size_t i = 0; i + 2 < axes; ++i) p.batch *= shape[i];
  p.rows = shape[axes - 2];
  p.columns = shape[axes - 1];
  p.inner = of_a[transposed_a ? axes - 2 : axes - 1];
  p.transposed_a = transposed_a;
  p.transposed_b = transposed_b;
  return cnnlab::Guarded(
      [&] { Multiply(pool, p, cnnlab::Data(a), cnnlab::Data(b), cnnlab::Data(*out)); });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(cnnlab_matmul, Handle,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<bool>("transposed_a")
                                  .Attr<bool>("transposed_b"));
