/* Public C API of the HasteConv kernels. Nothing here knows of ONNX Runtime.
 *
 * Shapes use the letters of docs/operator.md: N batch, C input channels, M output channels, H x W input size,
 * H' x W' output size, p patch size, q = p + k - 1 window size, L hyperplanes in use. Tensors are dense, and float32
 * except for weights of another haste_weight_type.
 *
 * Every function that can fail returns a haste_status; the reason, as a sentence, is in haste_error_message()
 * of the calling thread. A haste_conv may be run by several threads at once. */
#ifndef HASTE_HASTE_H_
#define HASTE_HASTE_H_

#include <stddef.h>
#include <stdint.h>

#define HASTE_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

#define HASTE_VERSION "0.1.0"
#define HASTE_MAX_HYPERPLANES 32
#define HASTE_BLOCK 16 /* channels per block of the blocked layout and of packed weights */
#define HASTE_STATS 8

typedef enum haste_status {
  HASTE_OK = 0,
  HASTE_INVALID_ARGUMENT = 1,
  HASTE_UNSUPPORTED = 2,
  HASTE_OUT_OF_MEMORY = 3,
  HASTE_NOT_RUN = 4 /* parallel_for returned before all tasks had run; the output is undefined */
} haste_status;

typedef enum haste_merge { HASTE_MERGE_SCALED = 0, HASTE_MERGE_MEAN = 1, HASTE_MERGE_NORM = 2 } haste_merge;

typedef enum haste_activation {
  HASTE_IDENTITY = 0,
  HASTE_RELU = 1,
  HASTE_LEAKY_RELU = 2, /* params[0] = alpha */
  HASTE_CLIP = 3,       /* params[0] = min, params[1] = max */
  HASTE_HARD_SWISH = 4,
  HASTE_SILU = 5,
  HASTE_SIGMOID = 6
} haste_activation;

/* HASTE_BLOCKED is [N, C/16, H, W, 16] and needs C to be a multiple of 16. */
typedef enum haste_layout { HASTE_NCHW = 0, HASTE_BLOCKED = 1 } haste_layout;

/* HASTE_OIHW is [M, C, kH, kW]; HASTE_PACKED is [ceil(M/16), C, kH*kW, 16], zero where m >= M. */
typedef enum haste_weight_layout { HASTE_OIHW = 0, HASTE_PACKED = 1 } haste_weight_layout;

/* How weights are stored. They are widened when they are read: all arithmetic is float32. */
typedef enum haste_weight_type { HASTE_WEIGHTS_FLOAT32 = 0, HASTE_WEIGHTS_FLOAT16 = 1 } haste_weight_type;

typedef struct haste_conv haste_conv;

typedef struct haste_conv_params {
  int64_t in_channels, out_channels;
  int64_t kernel_h, kernel_w;
  int64_t pad_top, pad_left, pad_bottom, pad_right;
  int64_t patch;
  int64_t max_hyperplanes; /* rows of the hyperplane matrix */
  haste_merge merge;
  haste_activation activation;
  float activation_params[2];
  haste_weight_layout weight_layout;
  haste_weight_type weight_type;
  haste_layout x_layout, z_layout, y_layout;
} haste_conv_params;

/* Runs task(state, i) for every i < count, on any threads, and returns when all are done. */
typedef void (*haste_task)(void* state, size_t index);
typedef void (*haste_parallel_for)(void* pool, haste_task task, size_t count, void* state);

typedef struct haste_conv_run_args {
  const float* x; /* [N,C,H,W] in params.x_layout */
  int64_t batch, height, width;
  int64_t hyperplanes;             /* L; 0 or less: dense */
  float tau;                       /* error bound; 0 or less: unbounded */
  const float* z;                  /* residual [N,M,H',W'] in params.z_layout, or NULL */
  float* y;                        /* [N,M,H',W'] in params.y_layout; may not overlap x */
  float* stats;                    /* [8], or NULL */
  haste_parallel_for parallel_for; /* NULL: everything on the calling thread */
  void* pool;
  const float* correction; /* [2,M]: compressed, y = correction[0] * convolution + correction[1] + z; NULL: none */
} haste_conv_run_args;

/* Checks everything that can be checked before a run. weights (of params.weight_type) must outlive the conv when they
 * are packed and 64-byte aligned (they are used in place); otherwise they are copied. bias [M]; hyperplanes
 * [max_hyperplanes, q_h*q_w]. */
HASTE_API haste_status haste_conv_create(const haste_conv_params* params, const void* weights, const float* bias,
                                         const int8_t* hyperplanes, haste_conv** conv);
HASTE_API void haste_conv_destroy(haste_conv* conv);

/* H' and W' for an input of height x width; INVALID_ARGUMENT when the kernel does not fit. */
HASTE_API haste_status haste_conv_output_size(const haste_conv* conv, int64_t height, int64_t width,
                                              int64_t* out_height, int64_t* out_width);

HASTE_API haste_status haste_conv_run(const haste_conv* conv, const haste_conv_run_args* args);

/* For tests. codes: uint32 [N, patches, C], patches row-major; args->y is not touched. */
HASTE_API haste_status haste_conv_codes(const haste_conv* conv, const haste_conv_run_args* args, uint32_t* codes);

/* For tests: as haste_conv_run, but with a given grouping [N, patches, C] (any uint32 labels; equal label = same
 * bucket) in place of the hash codes. args->hyperplanes is ignored and args->stats is not filled in. */
HASTE_API haste_status haste_conv_run_grouped(const haste_conv* conv, const haste_conv_run_args* args,
                                              const uint32_t* labels);

/* How a run uses the second-level cache: by chunks of patches, or by slices of the weights. */
typedef struct haste_schedule {
  int weights_stay;      /* beside a chunk; else all weights pass by for every chunk */
  int64_t chunk_patches; /* most patches of a chunk */
  int64_t chunk_floats;  /* of windows: a chunk that holds so many is full */
  int64_t slice_blocks;  /* blocks of output channels that stay while all patches pass by; 0: by chunks */
  int64_t slice_patches; /* that are prepared before the slices of the weights pass; 0: by chunks */
} haste_schedule;

/* For tests: what haste_conv_run would choose for args now, with as many threads as this conv has seen. args->x and
 * args->y are not looked at. */
HASTE_API haste_status haste_conv_schedule(const haste_conv* conv, const haste_conv_run_args* args,
                                           haste_schedule* schedule);

typedef struct haste_pool_params {
  int is_max; /* else average */
  int count_include_pad;
  int64_t kernel_h, kernel_w, stride_h, stride_w;
  int64_t pad_top, pad_left, pad_bottom, pad_right;
  int ceil_mode;
  haste_layout x_layout, y_layout;
} haste_pool_params;

HASTE_API haste_status haste_pool_output_size(const haste_pool_params* params, int64_t height, int64_t width,
                                              int64_t* out_height, int64_t* out_width);
HASTE_API haste_status haste_pool_run(const haste_pool_params* params, const float* x, int64_t batch, int64_t channels,
                                      int64_t height, int64_t width, float* y, haste_parallel_for parallel_for,
                                      void* pool);

/* Copies [N,C,H,W] from one layout to another; C must be a multiple of 16 unless both are NCHW. */
HASTE_API haste_status haste_reorder(const float* x, haste_layout x_layout, float* y, haste_layout y_layout,
                                     int64_t batch, int64_t channels, int64_t height, int64_t width,
                                     haste_parallel_for parallel_for, void* pool);

/* Instruction sets compiled in and supported by this processor, best first: "avx512", "avx2", "neon", "generic".
 * The best is used unless the environment variable HASTE_ISA or haste_select_isa names another. */
HASTE_API const char* haste_isa(void);
HASTE_API const char* const* haste_available_isas(void);   /* NULL-terminated */
HASTE_API haste_status haste_select_isa(const char* name); /* affects convs created afterwards */

/* The size of a core's second-level cache and how many cores share it, which decide what stays in it and what passes by
 * (never a result). Read from the system; for boards that report nothing or something else, and for tests. 0: as the
 * system says. Affects runs begun afterwards. */
HASTE_API haste_status haste_set_l2_cache(int64_t bytes, int64_t cores);

HASTE_API const char* haste_version(void);
HASTE_API const char* haste_error_message(void); /* of the last failure on this thread; never NULL */
HASTE_API uint64_t haste_run_count(void);        /* native HasteConv runs in this process so far */

#ifdef __cplusplus
}
#endif

#endif /* HASTE_HASTE_H_ */
