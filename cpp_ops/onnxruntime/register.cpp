// The entry point that ONNX Runtime looks for in an operator library.

#include "op.h"

namespace haste::ort {
namespace {

std::vector<const CustomOp*> operators() {
  std::vector<const CustomOp*> all = level_ops();
#if !defined(HASTE_CUDA_HOST)  // that library runs the CUDA provider's kernels in the CPU provider's place
  for (const CustomOp* op : conv_ops()) all.push_back(op);
  all.insert(all.end(), {max_pool_op(), average_pool_op(), reorder_op()});
#endif
#if defined(HASTE_WITH_CUDA)
  for (const CustomOp* op : cuda_operators()) all.push_back(op);
#endif
  return all;
}

// One domain for the process: sessions hold on to it, so it is never released.
OrtCustomOpDomain* make_domain(const Api& api) {
  OrtCustomOpDomain* domain = nullptr;
  check(api, api.CreateCustomOpDomain("ai.haste", &domain));
  for (const CustomOp* op : operators()) check(api, api.CustomOpDomain_Add(domain, op));
  return domain;
}

}  // namespace
}  // namespace haste::ort

extern "C" HASTE_API OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  using namespace haste::ort;
  const OrtApi* table = reinterpret_cast<const ApiBase*>(base)->GetApi(kApiVersion);
  if (!table)
    return nullptr;  // older than 1.17; the runtime has said so on stderr, and the model then runs its function bodies
  static const Api api(table);
  return guarded(api, [&] {
    static OrtCustomOpDomain* const domain = make_domain(api);
    check(api, api.AddCustomOpDomain(options, domain));
  });
}
