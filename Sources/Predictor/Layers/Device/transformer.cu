// SPDX-License-Identifier: Apache-2.0
//
// Attention with relative positions, and what stands around it in a transformer's layer, on a GPU; compiled together
// with layers.cu, behind it. What each computes is said where the processor does the same, in
// CKernels/kernels/transformer.h.

// Tests that run this on a CPU say how there.
#ifndef SHARED_ARRAY
#define SHARED_ARRAY(type, name) extern __shared__ type name[]
#endif

// MARK: GELU

// The normal distribution.
__device__ inline float normal(float x) { return 0.5f * erfcf(-0.70710678f * x); }

// x += bias, y = dropout(x · Φ(x)).
extern "C" __global__ void layers_gelu(
    float* __restrict__ x, const float* __restrict__ bias, float* __restrict__ y, long long count, int columns,
    Dropout d
) {
    long long n = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (n >= count) return;
    float value = x[n] + bias[n % columns];
    x[n] = value;
    y[n] = value * normal(value) * open_at(d, (unsigned)(d.first * columns + n));
}

extern "C" __global__ void layers_gelu_back(
    float* __restrict__ gradient, const float* __restrict__ x, long long count, int columns, Dropout d
) {
    long long n = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (n >= count) return;
    float value = x[n];
    float slope = normal(value) + value * expf(value * value * -0.5f) * 0.39894228f;
    gradient[n] *= slope * open_at(d, (unsigned)(d.first * columns + n));
}

// MARK: layer norm

// Of z = x + dropout(a + bias); a block has a row. Without a bias there is none.
extern "C" __global__ void __launch_bounds__(ROW_THREADS) layers_norm(
    const float* __restrict__ a, const float* __restrict__ bias, const float* __restrict__ x, int columns,
    float epsilon, const float* __restrict__ gain, const float* __restrict__ shift, Dropout d,
    float* __restrict__ direction, float* __restrict__ inverse, float* __restrict__ y
) {
    __shared__ float part[ROW_THREADS];
    long long first = (long long)blockIdx.x * columns;
    unsigned place = (unsigned)((d.first + blockIdx.x) * columns);
    float sum = 0;
    for (int c = threadIdx.x; c < columns; c += ROW_THREADS) {
        float value = (a[first + c] + (bias ? bias[c] : 0)) * open_at(d, place + c) + x[first + c];
        direction[first + c] = value;
        sum += value;
    }
    float mean = sum_of_block<ROW_THREADS>(part, sum) / columns;
    float squares = 0;
    for (int c = threadIdx.x; c < columns; c += ROW_THREADS) {
        float value = direction[first + c] - mean;
        squares += value * value;
    }
    float scale = 1 / sqrtf(sum_of_block<ROW_THREADS>(part, squares) / columns + epsilon);
    if (threadIdx.x == 0) inverse[blockIdx.x] = scale;
    for (int c = threadIdx.x; c < columns; c += ROW_THREADS) {
        float value = (direction[first + c] - mean) * scale;
        direction[first + c] = value;
        y[first + c] = value * gain[c] + shift[c];
    }
}

// The gradient of z, and `along`, whose columns' sums are the gradient of the gain.
extern "C" __global__ void __launch_bounds__(ROW_THREADS) layers_norm_back(
    const float* __restrict__ gradient, const float* __restrict__ direction, const float* __restrict__ inverse,
    int columns, const float* __restrict__ gain, float* __restrict__ dz, float* __restrict__ along
) {
    __shared__ float part[ROW_THREADS];
    long long first = (long long)blockIdx.x * columns;
    float sum = 0, together = 0;
    for (int c = threadIdx.x; c < columns; c += ROW_THREADS) {
        float value = gradient[first + c] * gain[c];
        sum += value;
        together += value * direction[first + c];
        along[first + c] = gradient[first + c] * direction[first + c];
    }
    float mean = sum_of_block<ROW_THREADS>(part, sum) / columns;
    float slope = sum_of_block<ROW_THREADS>(part, together) / columns;
    float scale = inverse[blockIdx.x];
    for (int c = threadIdx.x; c < columns; c += ROW_THREADS)
        dz[first + c] = (gradient[first + c] * gain[c] - mean - direction[first + c] * slope) * scale;
}

// MARK: attention

// A block has a query, and a head. `byDistance` is (q + position bias) · r, heads × queries × distances; the keys that a
// query sees stand there from `column` on.
struct Asking {
    long long query, distances;
    int head, width, at, keys, column;
    // Its first key and value; those of the next are two widths further.
    const float *k, *v;
    unsigned place;
};

__device__ inline Asking ask(
    const float* kv, const int* keyOffsets, const int* owners, const int* positions, int first, int size, int reach,
    int distances, int isCausal, const Dropout& d
) {
    Asking a;
    a.query = first + (long long)blockIdx.x;
    a.head = blockIdx.y;
    a.width = gridDim.y * size;
    a.at = positions[a.query];
    int owner = owners[a.query];
    long long start = keyOffsets[owner];
    a.keys = isCausal ? a.at + 1 : keyOffsets[owner + 1] - (int)start;
    a.column = reach - 1 - a.at;
    a.distances = ((long long)blockIdx.y * gridDim.x + blockIdx.x) * distances;
    a.k = kv + start * 2 * a.width + a.head * size;
    a.v = a.k + a.width;
    // The number of the first probability: far from those of all other queries and heads.
    a.place = (unsigned)((d.first + a.query) * gridDim.y + a.head) * 0x9e3779b1u;
    return a;
}

// How well a key fits.
__device__ inline float score(const Asking& a, const float* content, int j, float byDistance, int size, float scale) {
    const float* key = a.k + (long long)j * 2 * a.width;
    float sum = byDistance;
    for (int c = 0; c < size; c++) sum += content[c] * key[c];
    return sum * scale;
}

// The probabilities take the place of `byDistance`: shared memory might not hold those of long sequences.
extern "C" __global__ void __launch_bounds__(ROW_THREADS) layers_attend(
    const float* __restrict__ q, const float* __restrict__ contentBias, const float* __restrict__ kv,
    float* __restrict__ byDistance, const int* __restrict__ keyOffsets, const int* __restrict__ owners,
    const int* __restrict__ positions, int first, int size, int reach, int distances, int isCausal, float scale,
    Dropout d, float* __restrict__ out, float* __restrict__ logSums
) {
    __shared__ float part[ROW_THREADS];
    SHARED_ARRAY(float, content);
    Asking a = ask(kv, keyOffsets, owners, positions, first, size, reach, distances, isCausal, d);
    long long row = a.query * a.width + a.head * size;
    for (int c = threadIdx.x; c < size; c += ROW_THREADS) content[c] = q[row + c] + contentBias[a.head * size + c];
    __syncthreads();
    float* p = byDistance + a.distances + a.column;
    float most = __int_as_float(0xff800000);
    for (int j = threadIdx.x; j < a.keys; j += ROW_THREADS) {
        p[j] = score(a, content, j, p[j], size, scale);
        most = fmaxf(most, p[j]);
    }
    most = most_of_block<ROW_THREADS>(part, most);
    float sum = 0;
    for (int j = threadIdx.x; j < a.keys; j += ROW_THREADS) {
        float value = expf(p[j] - most);
        sum += value;
        p[j] = value * open_at(d, a.place + j);
    }
    sum = sum_of_block<ROW_THREADS>(part, sum);
    if (threadIdx.x == 0) logSums[a.query * gridDim.y + a.head] = most + logf(sum);
    for (int c = threadIdx.x; c < size; c += ROW_THREADS) {
        float value = 0;
        for (int j = 0; j < a.keys; j++) value += p[j] * a.v[(long long)j * 2 * a.width + c];
        out[row + c] = value / sum;
    }
}

// From dOut what the keys' part of q gets, and, in place of `byDistance`, the gradients of the scores, zeros where there
// is no key; `kept` has the probabilities that dropout left, at the same places.
extern "C" __global__ void __launch_bounds__(ROW_THREADS) layers_attend_back(
    const float* __restrict__ q, const float* __restrict__ contentBias, const float* __restrict__ kv,
    float* __restrict__ byDistance, const int* __restrict__ keyOffsets, const int* __restrict__ owners,
    const int* __restrict__ positions, int first, int size, int reach, int distances, int isCausal, float scale,
    Dropout d, const float* __restrict__ dOut, const float* __restrict__ logSums, float* __restrict__ kept,
    float* __restrict__ dq
) {
    __shared__ float part[ROW_THREADS];
    SHARED_ARRAY(float, content);
    float* out = content + size;
    Asking a = ask(kv, keyOffsets, owners, positions, first, size, reach, distances, isCausal, d);
    long long row = a.query * a.width + a.head * size;
    for (int c = threadIdx.x; c < size; c += ROW_THREADS) {
        content[c] = q[row + c] + contentBias[a.head * size + c];
        out[c] = dOut[row + c];
    }
    __syncthreads();
    float *scores = byDistance + a.distances, *p = kept + a.distances;
    float logSum = logSums[a.query * gridDim.y + a.head];
    float together = 0;
    for (int j = threadIdx.x; j < a.keys; j += ROW_THREADS) {
        int m = a.column + j;
        p[m] = expf(score(a, content, j, scores[m], size, scale) - logSum);
        float slope = 0;
        for (int c = 0; c < size; c++) slope += out[c] * a.v[(long long)j * 2 * a.width + c];
        scores[m] = slope * open_at(d, a.place + j);
        together += p[m] * scores[m];
    }
    float mean = sum_of_block<ROW_THREADS>(part, together);
    for (int m = threadIdx.x; m < distances; m += ROW_THREADS) {
        int j = m - a.column;
        if (j < 0 || j >= a.keys) {
            scores[m] = 0;
            continue;
        }
        scores[m] = p[m] * (scores[m] - mean) * scale;
        p[m] *= open_at(d, a.place + j);
    }
    __syncthreads();
    for (int c = threadIdx.x; c < size; c += ROW_THREADS) {
        float value = 0;
        for (int j = 0; j < a.keys; j++) value += scores[a.column + j] * a.k[(long long)j * 2 * a.width + c];
        dq[row + c] = value;
    }
}

// What a key and its value get from the queries of their sequence; a block has a key, and a head.
extern "C" __global__ void __launch_bounds__(ROW_THREADS) layers_attend_back_keys(
    const float* __restrict__ q, const float* __restrict__ contentBias, const float* __restrict__ scores,
    const float* __restrict__ kept, const int* __restrict__ keyOffsets, const int* __restrict__ owners,
    const int* __restrict__ queryOffsets, const int* __restrict__ positions, int firstKey, int firstQuery, int queries,
    int size, int reach, int distances, int isCausal, const float* __restrict__ dOut, float* __restrict__ dkv
) {
    long long key = firstKey + (long long)blockIdx.x;
    int width = gridDim.y * size, column = blockIdx.y * size, owner = owners[key];
    int j = (int)(key - keyOffsets[owner]);
    for (int n = threadIdx.x; n < 2 * size; n += ROW_THREADS) {
        bool isValue = n >= size;
        int c = column + (isValue ? n - size : n);
        float sum = 0;
        for (long long query = queryOffsets[owner]; query < queryOffsets[owner + 1]; query++) {
            int at = positions[query];
            if (isCausal && at < j) continue;
            long long place = ((long long)blockIdx.y * queries + query - firstQuery) * distances + reach - 1 - at + j;
            if (isValue)
                sum += kept[place] * dOut[query * width + c];
            else
                sum += scores[place] * (q[query * width + c] + contentBias[c]);
        }
        dkv[key * 2 * width + (isValue ? width : 0) + c] = sum;
    }
}
