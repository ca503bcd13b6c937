// SPDX-License-Identifier: Apache-2.0
// AVX2 with FMA.
#if defined(__x86_64__)
#include "kernels/levels.h"
#include <immintrin.h>

#define LEVEL v3
#define LANES 8
#define EMULATES_FMA 0
#pragma clang attribute push(__attribute__((target("arch=x86-64-v3"))), apply_to = function)
#include "kernels/all.h"
#pragma clang attribute pop
#endif
