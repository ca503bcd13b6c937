// SPDX-License-Identifier: Apache-2.0
//
// Exact top-k on a GPU: the scores of a tile of queries and items stay in registers, are compared there
// with the queries' thresholds, and only survivors reach memory.
//
// A score is summed from left to right in fused multiply-adds, from the item's bias on, so that lists are
// those of the CPU, bit for bit; a padded depth adds products of zeros, which change nothing but the sign
// of a zero, and -0 is taken for 0.

// Tests that run this on a CPU say how there.
#ifndef SHARED_ARRAY
#define SHARED_ARRAY(type, name) extern __shared__ type name[]
#endif

constexpr int THREADS = 256;
// Queries and items of a tile, and of those what one thread has.
constexpr int TILE = 128;
constexpr int EACH = 8;
// Columns of a tile in shared memory at a time; depths are padded to it.
constexpr int STEP = 8;

typedef unsigned long long Key;

// Greater for a greater score, and of equal scores for the lower row.
__device__ inline Key key_of(float score, int row) {
    unsigned bits = __float_as_uint(score + 0.0f);
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (Key)bits << 32 | (unsigned)~row;
}

__device__ inline float score_of(Key key) {
    unsigned bits = (unsigned)(key >> 32);
    return __uint_as_float(bits & 0x80000000u ? bits & 0x7fffffffu : ~bits);
}

__device__ inline int row_of(Key key) { return (int)~(unsigned)key; }

__device__ inline bool contains(const int* ascending, long long count, int value) {
    const int* end = ascending + count;
    while (count > 0) {
        long long half = count / 2;
        if (ascending[half] < value) {
            ascending += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return ascending < end && *ascending == value;
}

// Descending; `size` is a power of two.
__device__ inline void sort(Key* keys, int size) {
    for (int width = 2; width <= size; width *= 2) {
        for (int distance = width / 2; distance > 0; distance /= 2) {
            __syncthreads();
            for (int pair = threadIdx.x; pair < size / 2; pair += THREADS) {
                int a = 2 * pair - (pair & (distance - 1));
                int b = a + distance;
                bool isDescending = (a & width) == 0;
                if ((keys[a] < keys[b]) == isDescending) {
                    Key key = keys[a];
                    keys[a] = keys[b];
                    keys[b] = key;
                }
            }
        }
    }
    __syncthreads();
}

// Fills sorted[from] … sorted[capacity - 1] with keys of a query that are not excluded, and zeros, and sorts all of
// `sorted`, which has the best of before in front.
//
// The query's excluded rows are those from excludedEnds[query - 1] up to excludedEnds[query].
__device__ inline void merge(
    const Key* keys, int count, const int* excluded, const long long* excludedEnds, long long query,
    Key* sorted, int from, int capacity
) {
    long long start = excluded && query > 0 ? excludedEnds[query - 1] : 0;
    long long out = excluded ? excludedEnds[query] - start : 0;
    for (int n = threadIdx.x; n < capacity - from; n += THREADS) {
        Key key = n < count ? keys[n] : 0;
        if (key && out > 0 && contains(excluded + start, out, row_of(key))) key = 0;
        sorted[from + n] = key;
    }
    sort(sorted, capacity);
}

// Rows (count × depth) as columns of `packed` (depth × stride), from column `first` on.
//
// What is not written there is zero already. Blocks of 32 × 8 threads, of 32 × 32 values.
extern "C" __global__ void topk_pack(
    const float* __restrict__ rows, int count, int depth, int first, int stride, float* __restrict__ packed
) {
    __shared__ float tile[32][33];
    int column = blockIdx.y * 32 + threadIdx.x;
    for (int y = threadIdx.y; y < 32; y += 8) {
        int row = blockIdx.x * 32 + y;
        if (row < count && column < depth) tile[y][threadIdx.x] = rows[(long long)row * depth + column];
    }
    __syncthreads();
    int row = blockIdx.x * 32 + threadIdx.x;
    for (int y = threadIdx.y; y < 32; y += 8) {
        int to = blockIdx.y * 32 + y;
        if (row < count && to < depth) packed[(long long)to * stride + first + row] = tile[threadIdx.x][y];
    }
}

// Takes a tile of queries, blockIdx.x, through a segment of a chunk of items, blockIdx.y.
//
// queries: depth × queryStride, items: depth × itemStride, both from `topk_pack`, strides multiples of TILE.
// bias: of each item of the chunk, or null. rows: the row of each, by which lists name it. excluded: rows that must not be in the list of query q, ascending, from excludedEnds[q - 1]
// up to excludedEnds[q]; or null. Of each segment and query, kept from one chunk to the next: keys, `capacity` places,
// a power of two that is at least k + TILE; counts, how many are taken; thresholds, below which nothing is wanted.
extern "C" __global__ void __launch_bounds__(THREADS, 2) topk_scan(
    const float* __restrict__ queries, int queryCount, int queryStride,
    const float* __restrict__ items, int itemCount, int itemStride,
    const float* __restrict__ bias, const int* __restrict__ rows, int depth,
    const int* __restrict__ excluded, const long long* __restrict__ excludedEnds,
    Key* __restrict__ keys, int capacity, int k, int* __restrict__ counts, Key* __restrict__ thresholds
) {
    __shared__ float left[2][STEP][TILE];
    __shared__ float right[2][STEP][TILE];
    __shared__ Key threshold[TILE];
    __shared__ int taken[TILE];
    __shared__ int row[TILE];
    SHARED_ARRAY(Key, sorted);

    int thread = threadIdx.x;
    int firstQuery = blockIdx.x * TILE;
    // Segments are of whole tiles.
    int segments = gridDim.y;
    int segment = (itemCount + segments * TILE - 1) / (segments * TILE) * TILE;
    int segmentStart = blockIdx.y * segment;
    int segmentEnd = min(itemCount, segmentStart + segment);
    keys += (long long)blockIdx.y * queryCount * capacity;
    counts += (long long)blockIdx.y * queryCount;
    thresholds += (long long)blockIdx.y * queryCount;
    int queriesHere = min(TILE, queryCount - firstQuery);
    if (thread < queriesHere) {
        threshold[thread] = thresholds[firstQuery + thread];
        taken[thread] = counts[firstQuery + thread];
    }
    // A thread loads four columns' neighbours at a time: row `part` of a step, from column `place` on.
    int part = thread / (TILE / 4);
    int place = thread % (TILE / 4) * 4;
    // Its queries are y … y + 3 and TILE / 2 further, its items x … x + 3 and TILE / 2 further.
    int y = thread / 16 * 4;
    int x = thread % 16 * 4;
    int steps = (depth + STEP - 1) / STEP;

    for (int firstItem = segmentStart; firstItem < segmentEnd; firstItem += TILE) {
        int item = firstItem + thread;
        if (thread < TILE && item < itemCount) row[thread] = rows[item];
        float sums[EACH][EACH];
        for (int j = 0; j < EACH; j++) {
            int item = firstItem + x + j % 4 + j / 4 * (TILE / 2);
            float start = bias && item < itemCount ? bias[item] : 0.0f;
#pragma unroll
            for (int i = 0; i < EACH; i++) sums[i][j] = start;
        }
        float4 nextLeft = *(const float4*)&queries[(long long)part * queryStride + firstQuery + place];
        float4 nextRight = *(const float4*)&items[(long long)part * itemStride + firstItem + place];
        for (int step = 0; step < steps; step++) {
            int now = step & 1;
            *(float4*)&left[now][part][place] = nextLeft;
            *(float4*)&right[now][part][place] = nextRight;
            // What is loaded two steps on overwrites what everybody has passed by then.
            __syncthreads();
            if (step + 1 < steps) {
                long long column = (step + 1) * STEP + part;
                nextLeft = *(const float4*)&queries[column * queryStride + firstQuery + place];
                nextRight = *(const float4*)&items[column * itemStride + firstItem + place];
            }
#pragma unroll
            for (int column = 0; column < STEP; column++) {
                float a[EACH], b[EACH];
                *(float4*)&a[0] = *(const float4*)&left[now][column][y];
                *(float4*)&a[4] = *(const float4*)&left[now][column][y + TILE / 2];
                *(float4*)&b[0] = *(const float4*)&right[now][column][x];
                *(float4*)&b[4] = *(const float4*)&right[now][column][x + TILE / 2];
#pragma unroll
                for (int i = 0; i < EACH; i++) {
#pragma unroll
                    for (int j = 0; j < EACH; j++) sums[i][j] = fmaf(a[i], b[j], sums[i][j]);
                }
            }
        }
        // Also where there is no step: the thresholds are there.
        __syncthreads();

#pragma unroll
        for (int i = 0; i < EACH; i++) {
            int query = y + i % 4 + i / 4 * (TILE / 2);
            if (query >= queriesHere) continue;
            Key least = threshold[query];
            // Of no threshold this is no number, and nothing is less.
            float leastScore = score_of(least);
            Key* own = keys + (long long)(firstQuery + query) * capacity;
#pragma unroll
            for (int j = 0; j < EACH; j++) {
                if (sums[i][j] < leastScore) continue;
                int column = x + j % 4 + j / 4 * (TILE / 2);
                Key key = key_of(sums[i][j], row[column]);
                // There is room for a whole tile.
                if (key > least && firstItem + column < itemCount) own[atomicAdd(&taken[query], 1)] = key;
            }
        }
        __syncthreads();

        for (int query = 0; query < queriesHere; query++) {
            if (taken[query] + TILE <= capacity) continue;
            Key* own = keys + (long long)(firstQuery + query) * capacity;
            merge(own, taken[query], excluded, excludedEnds, firstQuery + query, sorted, 0, capacity);
            for (int n = thread; n < k; n += THREADS) own[n] = sorted[n];
            if (thread == 0) {
                // Of the kept ones, the first of which is a zero that is none.
                int count = k;
                while (count > 0 && !sorted[count - 1]) count--;
                taken[query] = count;
                if (count == k) threshold[query] = sorted[k - 1];
            }
            __syncthreads();
        }
    }
    if (thread < queriesHere) {
        thresholds[firstQuery + thread] = threshold[thread];
        counts[firstQuery + thread] = taken[thread];
    }
}

// The list of query blockIdx.x of `queryCount`, best first: k rows and scores, and how many there are.
extern "C" __global__ void __launch_bounds__(THREADS) topk_finish(
    const Key* __restrict__ keys, int queryCount, int segments, int capacity, int k, const int* __restrict__ taken,
    const int* __restrict__ excluded, const long long* __restrict__ excludedEnds,
    int* __restrict__ counts, int* __restrict__ rows, float* __restrict__ scores
) {
    SHARED_ARRAY(Key, sorted);
    long long query = blockIdx.x;
    for (int n = threadIdx.x; n < k; n += THREADS) sorted[n] = 0;
    for (int segment = 0; segment < segments; segment++) {
        long long own = (long long)segment * queryCount + query;
        for (int done = 0; done < taken[own]; done += capacity - k) {
            int count = min(capacity - k, taken[own] - done);
            __syncthreads();
            merge(keys + own * capacity + done, count, excluded, excludedEnds, query, sorted, k, capacity);
        }
    }
    __syncthreads();
    for (int n = threadIdx.x; n < k; n += THREADS) {
        Key key = sorted[n];
        rows[query * k + n] = key ? row_of(key) : -1;
        scores[query * k + n] = key ? score_of(key) : -__int_as_float(0x7f800000);
        // Those that are none come last.
        if (key && (n + 1 == k || !sorted[n + 1])) counts[query] = n + 1;
    }
    if (threadIdx.x == 0 && !sorted[0]) counts[query] = 0;
}
