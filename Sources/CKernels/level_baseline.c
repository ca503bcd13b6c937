// SPDX-License-Identifier: Apache-2.0
// What every processor of the architecture has: SSE2 without FMA, or NEON with it.
#include "kernels/levels.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define LEVEL baseline
#define LANES 4
#if defined(__FP_FAST_FMAF)
#define EMULATES_FMA 0
#else
#define EMULATES_FMA 1
#endif
#include "kernels/all.h"
