// SPDX-License-Identifier: Apache-2.0
//
// What a kernel's source needs to be compiled for a CPU, where the threads of a block take turns from one
// __syncthreads to the next.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace emulated {
struct Dim {
    unsigned x = 1, y = 1, z = 1;
};
extern Dim thread, block, grid;
extern unsigned char* shared;
void barrier();
}

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)
#define SHARED_ARRAY(type, name) type* name = (type*)emulated::shared
#define threadIdx emulated::thread
#define blockIdx emulated::block
#define gridDim emulated::grid
#define __syncthreads() emulated::barrier()

struct alignas(16) float4 {
    float x, y, z, w;
};

using std::min;

inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, 4);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
inline float __int_as_float(int bits) { return __uint_as_float((unsigned)bits); }
inline int atomicAdd(int* place, int value) {
    int before = *place;
    *place += value;
    return before;
}
