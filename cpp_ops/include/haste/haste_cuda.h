/* Public C API of the CUDA kernels (libhaste_ops_cuda.so): HasteConv, pools and reorder on device pointers and a
 * stream. Nothing here knows of ONNX Runtime. Shapes, layouts and parameters are those of haste.h and docs/operator.md.
 *
 * Functions that take a stream only enqueue work on it: they neither wait for the GPU nor allocate. A conv belongs to
 * the GPU that was current when it was created, and may be run by several threads and streams at once, each run with a
 * workspace of its own. The reason of a failure, as a sentence, is in haste_cuda_error_message() of the calling thread.
 */
#ifndef HASTE_HASTE_CUDA_H_
#define HASTE_HASTE_CUDA_H_

#include "haste.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How activations (x, y, z) and weights are stored. Hashing, sums, bias and statistics are float32 in either case. */
typedef enum haste_cuda_type { HASTE_CUDA_FLOAT32 = 0, HASTE_CUDA_FLOAT16 = 1 } haste_cuda_type;

typedef struct haste_cuda_conv haste_cuda_conv;

typedef struct haste_cuda_run_args {
  const void* x; /* [N,C,H,W] in params.x_layout */
  int64_t batch, height, width;
  int64_t hyperplanes; /* L; 0 or less: dense */
  float tau;           /* error bound; 0 or less: unbounded */
  const void* z;       /* residual [N,M,H',W'] in params.z_layout, or NULL */
  void* y;             /* [N,M,H',W'] in params.y_layout; may not overlap x */
  float* stats;        /* [8] on the device, or NULL */
  void* workspace;     /* on the device, 256-byte aligned; used until the run's last kernel ends */
  size_t workspace_bytes;
  void* stream;            /* cudaStream_t; NULL is the default stream */
  const float* correction; /* [2,M] float32 on the device: compressed, y = correction[0] * convolution + correction[1]
                              + z; NULL: none */
} haste_cuda_run_args;

/* weights, bias [M] and hyperplanes [max_hyperplanes, q_h*q_w] may lie on the host or the device. They are copied; the
 * call waits for the copies. weights are float16 if `type` is, or if params.weight_type says so; the copy is of `type`.
 * bias is float32. */
HASTE_API haste_status haste_cuda_conv_create(const haste_conv_params* params, haste_cuda_type type,
                                              const void* weights, const float* bias, const int8_t* hyperplanes,
                                              haste_cuda_conv** conv);
/* No run of this conv may be in progress. */
HASTE_API void haste_cuda_conv_destroy(haste_cuda_conv* conv);

HASTE_API haste_status haste_cuda_conv_output_size(const haste_cuda_conv* conv, int64_t height, int64_t width,
                                                   int64_t* out_height, int64_t* out_width);

/* Bytes of workspace that a run on this shape needs, whatever its L and tau. */
HASTE_API haste_status haste_cuda_conv_workspace(const haste_cuda_conv* conv, int64_t batch, int64_t height,
                                                 int64_t width, size_t* bytes);

HASTE_API haste_status haste_cuda_conv_run(const haste_cuda_conv* conv, const haste_cuda_run_args* args);

/* For tests. codes: uint32 [N, patches, C] on the device; args->y is not touched. */
HASTE_API haste_status haste_cuda_conv_codes(const haste_cuda_conv* conv, const haste_cuda_run_args* args,
                                             uint32_t* codes);

/* For tests: as haste_cuda_conv_run with a given grouping [N, patches, C] on the device (equal label = same bucket). */
HASTE_API haste_status haste_cuda_conv_run_grouped(const haste_cuda_conv* conv, const haste_cuda_run_args* args,
                                                   const uint32_t* labels);

HASTE_API haste_status haste_cuda_pool_run(const haste_pool_params* params, haste_cuda_type type, const void* x,
                                           int64_t batch, int64_t channels, int64_t height, int64_t width, void* y,
                                           void* stream);

HASTE_API haste_status haste_cuda_reorder(haste_cuda_type type, const void* x, haste_layout x_layout, void* y,
                                          haste_layout y_layout, int64_t batch, int64_t channels, int64_t height,
                                          int64_t width, void* stream);

/* GPUs that the driver shows; 0 also where there is no driver, or one too old: the error message then says which. */
HASTE_API int haste_cuda_device_count(void);

HASTE_API const char* haste_cuda_error_message(void); /* of the last failure on this thread; never NULL */

#ifdef __cplusplus
}
#endif

#endif /* HASTE_HASTE_CUDA_H_ */
