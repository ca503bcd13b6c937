// SPDX-License-Identifier: Apache-2.0
//
// What networks do beside matrix products, on a GPU. Nothing is added up in an order that changes from run to
// run: the same card makes the same bits. What each computes is said where the processor does the same, in
// CKernels/kernels/layers.h and Layers.

constexpr int THREADS = 256;
// Of blocks that have one row, of as many columns as the vectors of a model.
constexpr int ROW_THREADS = 64;

struct Optimiser {
    int kind;
    float rate, epsilon, beta1, beta2, decay, unbias1, unbias2, scale;
};

// As in CKernels.
struct Dropout {
    unsigned seed, closed;
    float scale;
    unsigned long long first;
};

// What dropout multiplies the value at a place with, from the first row on: the same as on a processor.
__device__ inline float open_at(const Dropout& d, unsigned place) {
    unsigned hash = place ^ d.seed;
    hash = (hash ^ hash >> 16) * 0x7feb352du;
    hash = (hash ^ hash >> 15) * 0x846ca68bu;
    hash = hash ^ hash >> 16;
    return hash >= d.closed ? d.scale : 0;
}

// Each at its own place; all threads of the block have the result.
template <int SIZE, class T> __device__ inline T sum_of_block(T* part, T value) {
    part[threadIdx.x] = value;
    for (int half = SIZE / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    }
    __syncthreads();
    T sum = part[0];
    __syncthreads();
    return sum;
}

template <int SIZE> __device__ inline float most_of_block(float* part, float value) {
    part[threadIdx.x] = value;
    for (int half = SIZE / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) part[threadIdx.x] = fmaxf(part[threadIdx.x], part[threadIdx.x + half]);
    }
    __syncthreads();
    float most = part[0];
    __syncthreads();
    return most;
}

// MARK: rows

// to[r][toColumn + c] = dropout(from[r][fromColumn + c]); both may be the same.
extern "C" __global__ void layers_copy(
    const float* from, int fromStride, int fromColumn, float* to, int toStride, int toColumn, int columns,
    long long count, Dropout d
) {
    long long n = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (n >= count) return;
    long long row = n / columns;
    int c = n % columns;
    float open = open_at(d, (unsigned)(d.first * columns + n));
    to[row * toStride + toColumn + c] = from[row * fromStride + fromColumn + c] * open;
}

// to[rows[n]] = from[n] (+ to[rows[n]]), where each row is named once; `stride` 0: the same for all; nothing to copy
// from: zeros.
extern "C" __global__ void layers_put_rows(
    const int* __restrict__ rows, const float* __restrict__ from, int stride, float* __restrict__ to, int columns,
    long long count, int adds
) {
    long long n = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (n >= count) return;
    long long row = n / columns;
    int c = n % columns;
    float* place = to + (long long)rows[row] * columns + c;
    *place = (adds ? *place : 0) + (from ? from[row * stride + c] : 0);
}

// MARK: embeddings

// y[r][column + c] = the mean of table[code][c] over the codes of row r: one, or, with offsets, those from
// offsets[r] up to offsets[r + 1].
extern "C" __global__ void layers_embed(
    const float* __restrict__ table, int width, const int* __restrict__ codes, const int* __restrict__ offsets,
    float* __restrict__ y, int stride, int column, int rows
) {
    long long n = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (n >= (long long)rows * width) return;
    long long row = n / width;
    int c = n % width;
    float value = 0;
    if (offsets) {
        int first = offsets[row], end = offsets[row + 1];
        float weight = 1.0f / (float)(end - first);
        for (int e = first; e < end; e++) value += weight * table[(long long)codes[e] * width + c];
    } else {
        value = table[(long long)codes[row] * width + c];
    }
    y[row * stride + column + c] = value;
}

// sums[p][c] = Σ weight · gradient[owner][column + c] over the entries of piece p, which end before ends[p]; without
// weights each is one, without owners entry e is owner e's.
extern "C" __global__ void layers_sum_pieces(
    const float* __restrict__ gradient, int stride, int column, int width, const int* __restrict__ owners,
    const float* __restrict__ weights, const int* __restrict__ ends, int pieces, float* __restrict__ sums
) {
    long long n = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (n >= (long long)pieces * width) return;
    long long piece = n / width;
    int c = n % width;
    float sum = 0;
    for (int e = piece ? ends[piece - 1] : 0; e < ends[piece]; e++)
        sum += (weights ? weights[e] : 1.0f) * gradient[(long long)(owners ? owners[e] : e) * stride + column + c];
    sums[n] = sum;
}

// The gradient of row r is the sum of its pieces, which end before ends[r]; without ends it has one.
__device__ inline float gradient_of(const float* sums, const int* ends, long long row, int width, int c) {
    if (!ends) return sums[row * width + c];
    float sum = 0;
    for (long long piece = row ? ends[row - 1] : 0; piece < ends[row]; piece++) sum += sums[piece * width + c];
    return sum;
}

// Adds the gradients of rows that a batch used, in pieces that end before ends[n], to those of the whole table.
extern "C" __global__ void layers_add_sums(
    const int* __restrict__ rows, const float* __restrict__ sums, const int* __restrict__ ends, int count, int width,
    float* __restrict__ whole
) {
    long long n = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (n >= (long long)count * width) return;
    long long place = n / width;
    int c = n % width;
    whole[(long long)rows[place] * width + c] += gradient_of(sums, ends, place, width, c);
}

// partial[block] = the sum of the squares of some rows' gradients.
extern "C" __global__ void __launch_bounds__(THREADS) layers_squares(
    const float* __restrict__ sums, const int* __restrict__ ends, int rows, int width, double* __restrict__ partial
) {
    __shared__ double part[THREADS];
    double total = 0;
    long long step = (long long)gridDim.x * THREADS;
    for (long long n = (long long)blockIdx.x * THREADS + threadIdx.x; n < (long long)rows * width; n += step) {
        double value = gradient_of(sums, ends, n / width, width, n % width);
        total += value * value;
    }
    total = sum_of_block<THREADS>(part, total);
    if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

// Moves rows of a parameter by their gradients: those that `rows` names, or all.
extern "C" __global__ void layers_update(
    const int* __restrict__ rows, const float* __restrict__ sums, const int* __restrict__ ends, int count, int width,
    float* __restrict__ values, float* __restrict__ state, Optimiser o
) {
    long long n = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (n >= (long long)count * width) return;
    long long place = n / width;
    int c = n % width;
    float g = o.scale * gradient_of(sums, ends, place, width, c);
    long long row = rows ? rows[place] : place;
    float* value = values + row * width + c;
    if (o.kind == 0) {
        *value -= o.rate * g;
    } else if (o.kind == 1) {
        float sum = state[row * width + c] + g * g;
        state[row * width + c] = sum;
        *value -= o.rate * g / sqrtf(sum + o.epsilon);
    } else {
        float* moments = state + row * width * 2 + c;
        float first = o.beta1 * moments[0] + (1 - o.beta1) * g;
        float second = o.beta2 * moments[width] + (1 - o.beta2) * g * g;
        moments[0] = first;
        moments[width] = second;
        *value -= o.rate * (first * o.unbias1 / (sqrtf(second * o.unbias2) + o.epsilon) + o.decay * *value);
    }
}

// MARK: activations

// y = x + bias, and nothing less than zero where it rectifies; y may be x.
extern "C" __global__ void layers_add_bias(
    const float* x, const float* __restrict__ bias, float* y, long long count, int columns, int rectifies
) {
    long long n = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (n >= count) return;
    float value = x[n] + bias[n % columns];
    // Not a NaN's: a training that broke must be seen to have.
    y[n] = rectifies && value < 0 ? 0 : value;
}

extern "C" __global__ void layers_rectify_back(
    float* __restrict__ gradient, const float* __restrict__ y, long long count
) {
    long long n = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (n < count && !(y[n] > 0)) gradient[n] = 0;
}

// y[e] = max(0, a[slot of e] + b[slot of e]).
extern "C" __global__ void layers_add_pairs(
    const float* __restrict__ a, const int* __restrict__ slotsOfA, const float* __restrict__ b,
    const int* __restrict__ slotsOfB, float* __restrict__ y, long long count, int columns
) {
    long long n = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (n >= count) return;
    long long row = n / columns;
    int c = n % columns;
    float value = a[(long long)slotsOfA[row] * columns + c] + b[(long long)slotsOfB[row] * columns + c];
    y[n] = value < 0 ? 0 : value;
}

// y = x / |x|; a block has a row.
extern "C" __global__ void __launch_bounds__(ROW_THREADS) layers_normalise(
    const float* __restrict__ x, int columns, float* __restrict__ y, float* __restrict__ inverse
) {
    __shared__ float part[ROW_THREADS];
    long long first = (long long)blockIdx.x * columns;
    float squares = 0;
    for (int c = threadIdx.x; c < columns; c += ROW_THREADS) squares += x[first + c] * x[first + c];
    squares = sum_of_block<ROW_THREADS>(part, squares);
    float scale = squares == 0 ? 0 : 1 / sqrtf(squares);
    for (int c = threadIdx.x; c < columns; c += ROW_THREADS) y[first + c] = x[first + c] * scale;
    if (threadIdx.x == 0) inverse[blockIdx.x] = scale;
}

// gradient = (g − y (y · g)) / |x|, in place of g.
extern "C" __global__ void __launch_bounds__(ROW_THREADS) layers_normalise_back(
    float* __restrict__ gradient, int columns, const float* __restrict__ y, const float* __restrict__ inverse
) {
    __shared__ float part[ROW_THREADS];
    long long first = (long long)blockIdx.x * columns;
    float along = 0;
    for (int c = threadIdx.x; c < columns; c += ROW_THREADS) along += gradient[first + c] * y[first + c];
    along = sum_of_block<ROW_THREADS>(part, along);
    float scale = inverse[blockIdx.x];
    for (int c = threadIdx.x; c < columns; c += ROW_THREADS)
        gradient[first + c] = (gradient[first + c] - along * y[first + c]) * scale;
}

// MARK: losses

// Candidates that are another copy of a query's own, which count nothing for it.
extern "C" __global__ void layers_close(
    float* __restrict__ logits, int columns, int first, const int* __restrict__ queries,
    const int* __restrict__ candidates, int count
) {
    int n = blockIdx.x * THREADS + threadIdx.x;
    if (n >= count) return;
    logits[(long long)(queries[n] - first) * columns + candidates[n]] = __int_as_float(0xff800000);
}

// The softmax of a row of logits and biases, its loss, and, in place of the logits, its gradient times `scale`; a
// block has a query. The logit of the query's own candidate has a bias of its own.
extern "C" __global__ void __launch_bounds__(THREADS) layers_softmax(
    float* __restrict__ logits, int columns, const float* __restrict__ bias, const int* __restrict__ targets,
    const float* __restrict__ targetBias, float scale, float* __restrict__ loss
) {
    __shared__ float part[THREADS];
    float* row = logits + (long long)blockIdx.x * columns;
    int target = targets[blockIdx.x];
    float ownBias = targetBias[blockIdx.x];
    float most = __int_as_float(0xff800000);
    for (int c = threadIdx.x; c < columns; c += THREADS)
        most = fmaxf(most, row[c] + (c == target ? ownBias : bias[c]));
    float aim = row[target] + ownBias;
    // Nobody writes before all have read.
    most = most_of_block<THREADS>(part, most);
    float sum = 0;
    for (int c = threadIdx.x; c < columns; c += THREADS) {
        float value = expf(row[c] + (c == target ? ownBias : bias[c]) - most);
        row[c] = value;
        sum += value;
    }
    sum = sum_of_block<THREADS>(part, sum);
    float share = scale / sum;
    for (int c = threadIdx.x; c < columns; c += THREADS) row[c] = row[c] * share - (c == target ? scale : 0);
    if (threadIdx.x == 0) loss[blockIdx.x] = logf(sum) + most - aim;
}

// log(1 + eˣ) − label · x of each logit, and its gradient times `scale`.
extern "C" __global__ void layers_binary_cross_entropy(
    const float* __restrict__ logits, const float* __restrict__ labels, int count, float scale,
    float* __restrict__ gradient, float* __restrict__ loss
) {
    int n = blockIdx.x * THREADS + threadIdx.x;
    if (n >= count) return;
    float x = logits[n], y = labels[n];
    // Of -|x|, so that nothing grows beyond all numbers.
    float small = expf(-fabsf(x));
    loss[n] = (x > 0 ? x : 0) - x * y + log1pf(small);
    float sigmoid = x >= 0 ? 1 / (1 + small) : small / (1 + small);
    gradient[n] = (sigmoid - y) * scale;
}
