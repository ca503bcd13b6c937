// SPDX-License-Identifier: Apache-2.0
// AVX-512.
#if defined(__x86_64__)
#include "kernels/levels.h"
#include <immintrin.h>

#define LEVEL v4
#define LANES 16
#define EMULATES_FMA 0
#pragma clang attribute push(__attribute__((target("arch=x86-64-v4"))), apply_to = function)
#include "kernels/all.h"
#pragma clang attribute pop
#endif
