// SPDX-License-Identifier: Apache-2.0
// Attention with relative positions, and what stands around it in a transformer's layer.

typedef uint32_t FN(naturals) __attribute__((ext_vector_type(LANES)));
#define naturals FN(naturals)

// MARK: dropout

// Which places stay open depends on the place only, not on the width of registers: Wellons'
// lowbias32 of its number.
INLINE uint32_t FN(hash_one)(uint32_t x) {
    x = (x ^ x >> 16) * 0x7feb352d;
    x = (x ^ x >> 15) * 0x846ca68b;
    return x ^ x >> 16;
}
INLINE naturals FN(hash)(naturals x) {
    x = (x ^ x >> 16) * 0x7feb352d;
    x = (x ^ x >> 15) * 0x846ca68b;
    return x ^ x >> 16;
}
INLINE naturals FN(count_from)(uint32_t first) {
    naturals x;
    for (uint32_t i = 0; i < LANES; i++) x[i] = first + i;
    return x;
}
// What the values from `place` on are multiplied with: 0 or the scale.
INLINE floats FN(open)(const struct larder_dropout *d, uint32_t place) {
    naturals hash = FN(hash)(FN(count_from)(place) ^ d->seed);
    return hash >= d->closed ? FN(splat)(d->scale) : (floats)(0);
}
INLINE float FN(open_one)(const struct larder_dropout *d, uint32_t place) {
    return FN(hash_one)(place ^ d->seed) >= d->closed ? d->scale : 0;
}

static void FN(dropout)(const struct larder_dropout *d, float *x, size_t rows, size_t columns) {
    if (!d->closed) return;
    uint32_t place = (uint32_t)(d->first * columns);
    size_t count = rows * columns, i = 0;
    for (; i + LANES <= count; i += LANES)
        FN(store)(x + i, FN(load)(x + i) * FN(open)(d, place + (uint32_t)i));
    for (; i < count; i++) x[i] *= FN(open_one)(d, place + (uint32_t)i);
}

// MARK: GELU

// Φ(x), the normal distribution; `density` is exp(-x² / 2). Abramowitz and Stegun 7.1.26: to 1.5
// in 10⁷.
INLINE floats FN(normal)(floats x, floats density) {
    floats size = FN(max)(x, -x) * 0.70710678f;
    floats t = 1 / (size * 0.3275911f + 1);
    floats p = t * 1.061405429f - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    floats tail = p * t * density * 0.5f;
    return x < 0 ? tail : 1 - tail;
}

// Some values at the end of a row stand in a register of their own.
INLINE floats FN(load_some)(const float *from, size_t count) {
    floats value = 0;
    for (size_t i = 0; i < count; i++) value[i] = from[i];
    return value;
}
INLINE void FN(store_some)(float *to, floats value, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] = value[i];
}

static void FN(gelu)(float *x, const float *bias, float *y, size_t rows, size_t columns,
                     const struct larder_dropout *d) {
    for (size_t r = 0; r < rows; r++) {
        float *from = x + r * columns, *to = y + r * columns;
        uint32_t place = (uint32_t)((d->first + r) * columns);
        for (size_t c = 0; c < columns; c += LANES) {
            size_t left = columns - c;
            floats value = left >= LANES ? FN(load)(from + c) + FN(load)(bias + c)
                                         : FN(load_some)(from + c, left) + FN(load_some)(bias + c, left);
            floats result = value * FN(normal)(value, FN(exp)(value * value * -0.5f));
            if (d->closed) result *= FN(open)(d, place + (uint32_t)c);
            if (left >= LANES) {
                FN(store)(from + c, value);
                FN(store)(to + c, result);
            } else {
                FN(store_some)(from + c, value, left);
                FN(store_some)(to + c, result, left);
            }
        }
    }
}

static void FN(gelu_back)(float *gradient, const float *x, size_t rows, size_t columns,
                          const struct larder_dropout *d) {
    for (size_t r = 0; r < rows; r++) {
        float *row = gradient + r * columns;
        const float *from = x + r * columns;
        uint32_t place = (uint32_t)((d->first + r) * columns);
        for (size_t c = 0; c < columns; c += LANES) {
            size_t left = columns - c;
            floats value = left >= LANES ? FN(load)(from + c) : FN(load_some)(from + c, left);
            floats density = FN(exp)(value * value * -0.5f);
            floats slope = FN(normal)(value, density) + value * density * 0.39894228f;
            if (d->closed) slope *= FN(open)(d, place + (uint32_t)c);
            if (left >= LANES)
                FN(store)(row + c, FN(load)(row + c) * slope);
            else
                FN(store_some)(row + c, FN(load_some)(row + c, left) * slope, left);
        }
    }
}

// MARK: layer norm

static void FN(norm)(const struct larder_norm *n, float *a, const float *bias, const float *x,
                     float *y, size_t rows, const struct larder_dropout *d) {
    size_t columns = n->columns;
    for (size_t r = 0; r < rows; r++) {
        float *restrict z = n->direction + r * columns;
        const float *from = a + r * columns, *rest = x + r * columns;
        uint32_t place = (uint32_t)((d->first + r) * columns);
        size_t c = 0;
        floats sums = 0;
        for (; c + LANES <= columns; c += LANES) {
            floats value = FN(load)(from + c);
            if (bias) value += FN(load)(bias + c);
            if (d->closed) value *= FN(open)(d, place + (uint32_t)c);
            value += FN(load)(rest + c);
            FN(store)(z + c, value);
            sums += value;
        }
        float sum = FN(sum)(sums);
        for (; c < columns; c++) {
            float value = from[c] + (bias ? bias[c] : 0);
            if (d->closed) value *= FN(open_one)(d, place + (uint32_t)c);
            z[c] = value + rest[c];
            sum += z[c];
        }
        float mean = sum / (float)columns;
        floats squares = 0;
        for (c = 0; c + LANES <= columns; c += LANES) {
            floats value = FN(load)(z + c) - mean;
            squares += value * value;
        }
        float variance = FN(sum)(squares);
        for (; c < columns; c++) variance += (z[c] - mean) * (z[c] - mean);
        float inverse = 1 / __builtin_sqrtf(variance / (float)columns + n->epsilon);
        n->inverse[r] = inverse;
        float *restrict to = y + r * columns;
        for (c = 0; c < columns; c++) {
            z[c] = (z[c] - mean) * inverse;
            to[c] = z[c] * n->gain[c] + n->shift[c];
        }
    }
}

static void FN(norm_back)(const struct larder_norm *n, const float *gradient, float *dz,
                          float *dgain, float *dshift, size_t rows) {
    size_t columns = n->columns;
    for (size_t r = 0; r < rows; r++) {
        const float *restrict g = gradient + r * columns;
        const float *restrict z = n->direction + r * columns;
        float *restrict to = dz + r * columns;
        floats sums = 0, alongs = 0;
        size_t c = 0;
        for (; c + LANES <= columns; c += LANES) {
            floats value = FN(load)(g + c), at = FN(load)(z + c);
            FN(store)(dgain + c, FN(load)(dgain + c) + value * at);
            FN(store)(dshift + c, FN(load)(dshift + c) + value);
            value *= FN(load)(n->gain + c);
            FN(store)(to + c, value);
            sums += value;
            alongs += value * at;
        }
        float sum = FN(sum)(sums), along = FN(sum)(alongs);
        for (; c < columns; c++) {
            dgain[c] += g[c] * z[c];
            dshift[c] += g[c];
            to[c] = g[c] * n->gain[c];
            sum += to[c];
            along += to[c] * z[c];
        }
        sum /= (float)columns;
        along /= (float)columns;
        float inverse = n->inverse[r];
        for (c = 0; c < columns; c++) to[c] = (to[c] - sum - z[c] * along) * inverse;
    }
}

// MARK: attention

// to[c][j] = from[j][c] for `size` columns; zeros behind the last j, up to the stride.
static void FN(turn)(const float *from, size_t from_stride, size_t count, size_t size, float *to,
                     size_t stride) {
    for (size_t c = 0; c < size; c++) {
        float *restrict row = to + c * stride;
        for (size_t j = 0; j < count; j++) row[j] = from[j * from_stride + c];
        for (size_t j = count; j < stride; j++) row[j] = 0;
    }
}

enum { FN(group) = 4 };

// Some queries of a sequence, worked on together: they meet the same keys.
struct FN(asking) {
    size_t count, most;
    // The query, the keys it sees, and the column of its distance from the first.
    size_t row[FN(group)], keys[FN(group)], column[FN(group)];
};

// Takes the next queries from `row` on, with their content biases added; those that are not there
// are the last once more.
INLINE struct FN(asking) FN(ask)(const struct larder_attention *a, size_t row, size_t last,
                                 size_t keys, size_t head, float *content) {
    struct FN(asking) asking = {.count = last - row < FN(group) ? last - row : FN(group)};
    const float *u = a->content_bias + head * a->size;
    for (size_t n = 0; n < FN(group); n++) {
        size_t own = row + (n < asking.count ? n : asking.count - 1);
        size_t at = (size_t)a->positions[own];
        const float *q = a->q + own * a->q_stride + head * a->size;
        asking.row[n] = own;
        asking.keys[n] = a->is_causal ? at + 1 : keys;
        asking.column[n] = a->reach - 1 - at;
        if (asking.keys[n] > asking.most) asking.most = asking.keys[n];
        for (size_t c = 0; c < a->size; c++) content[n * a->size + c] = q[c] + u[c];
    }
    return asking;
}

// Their scores, `stride` apart, up to a whole register.
//
// (q + u) · k + (q + w) · r = (q + u) · (k + r) + (w - u) · r, of which the last is of the distance alone.
INLINE void FN(scores)(const struct larder_attention *a, const struct FN(asking) *asking,
                       size_t head, const float *content, const float *keys_turned,
                       size_t stride, float *to) {
    const float *turned = a->positions_turned + head * a->size * a->position_stride;
    const float *offsets = a->position_offsets + head * a->position_stride;
    for (size_t j = 0; j < asking->most; j += LANES) {
        floats sums[FN(group)];
        UNROLL for (int n = 0; n < FN(group); n++)
            sums[n] = FN(load)(offsets + asking->column[n] + j);
        for (size_t c = 0; c < a->size; c++) {
            floats key = FN(load)(keys_turned + c * stride + j);
            const float *row = turned + c * a->position_stride + j;
            UNROLL for (int n = 0; n < FN(group); n++)
                sums[n] += content[(size_t)n * a->size + c]
                    * (key + FN(load)(row + asking->column[n]));
        }
        UNROLL for (int n = 0; n < FN(group); n++)
            FN(store)(to + (size_t)n * stride + j, sums[n] * a->scale);
    }
    for (size_t n = 0; n < FN(group); n++)
        for (size_t j = asking->keys[n]; j % LANES; j++) to[n * stride + j] = -__builtin_inff();
}

// The number of the first of a query's probabilities, for dropout: far from all others, and of none
// but the query and the head.
INLINE uint32_t FN(draw_place)(const struct larder_attention *a, size_t query, size_t head) {
    return (uint32_t)((a->dropout.first + query) * a->heads + head) * 0x9e3779b1u;
}

// p = what is left of exp(p - the greatest) after dropout, zeros up to `most`; returns the sum before.
INLINE float FN(weigh)(const struct larder_attention *a, size_t query, size_t head, size_t keys,
                       size_t most_keys, float *p) {
    floats high = FN(load)(p);
    for (size_t j = LANES; j < keys; j += LANES) high = FN(max)(FN(load)(p + j), high);
    float most = FN(most)(high);
    floats sums = 0;
    uint32_t place = FN(draw_place)(a, query, head);
    for (size_t j = 0; j < keys; j += LANES) {
        floats value = FN(exp)(FN(load)(p + j) - most);
        sums += value;
        if (a->dropout.closed) value *= FN(open)(&a->dropout, place + (uint32_t)j);
        FN(store)(p + j, value);
    }
    for (size_t j = keys; j < most_keys; j++) p[j] = 0;
    float total = FN(sum)(sums);
    if (a->log_sum) a->log_sum[query * a->heads + head] = most + __builtin_logf(total);
    return total;
}

static void FN(attend)(const struct larder_attention *a, size_t first, size_t last,
                       float *scratch) {
    size_t stride = a->reach + LANES - a->reach % LANES, size = a->size;
    float *keys_turned = scratch, *p = keys_turned + size * stride;
    float *content = p + FN(group) * stride;
    for (size_t s = first; s < last; s++) {
        size_t start = (size_t)a->key_offsets[s], count = (size_t)a->key_offsets[s + 1] - start;
        size_t end = (size_t)a->query_offsets[s + 1];
        for (size_t head = 0; head < a->heads; head++) {
            FN(turn)(a->k + start * a->kv_stride + head * size, a->kv_stride, count, size,
                     keys_turned, stride);
            const float *values = a->v + start * a->kv_stride + head * size;
            for (size_t row = (size_t)a->query_offsets[s]; row < end; row += FN(group)) {
                struct FN(asking) asking = FN(ask)(a, row, end, count, head, content);
                FN(scores)(a, &asking, head, content, keys_turned, stride, p);
                float share[FN(group)];
                for (size_t n = 0; n < FN(group); n++)
                    share[n] = 1 / FN(weigh)(a, asking.row[n], head, asking.keys[n],
                                             asking.most, p + n * stride);
                size_t c = 0;
                for (; c + LANES <= size; c += LANES) {
                    floats sums[FN(group)] = {0};
                    for (size_t j = 0; j < asking.most; j++) {
                        floats value = FN(load)(values + j * a->kv_stride + c);
                        UNROLL for (int n = 0; n < FN(group); n++)
                            sums[n] += p[(size_t)n * stride + j] * value;
                    }
                    for (size_t n = 0; n < asking.count; n++)
                        FN(store)(a->out + asking.row[n] * a->out_stride + head * size + c,
                                  sums[n] * share[n]);
                }
                for (size_t n = 0; n < asking.count; n++) {
                    float *restrict to = a->out + asking.row[n] * a->out_stride + head * size;
                    for (size_t rest = c; rest < size; rest++) {
                        float sum = 0;
                        for (size_t j = 0; j < asking.keys[n]; j++)
                            sum += p[n * stride + j] * values[j * a->kv_stride + rest];
                        to[rest] = sum * share[n];
                    }
                }
            }
        }
    }
}

// to += weight × from.
INLINE void FN(move)(float *restrict to, const float *from, float weight, size_t count) {
    size_t c = 0;
    for (; c + LANES <= count; c += LANES)
        FN(store)(to + c, weight * FN(load)(from + c) + FN(load)(to + c));
    for (; c < count; c++) to[c] += weight * from[c];
}

static void FN(attend_back)(const struct larder_attention *a,
                            const struct larder_attention_gradient *g, size_t first, size_t last,
                            float *scratch) {
    size_t stride = a->reach + LANES - a->reach % LANES, size = a->size;
    float *keys_turned = scratch, *values_turned = keys_turned + size * stride;
    float *shares = values_turned + size * stride, *dp = shares + FN(group) * stride;
    float *content = dp + stride, *position = content + FN(group) * size;
    float *to_keys = position + size, *to_positions = to_keys + size;
    size_t width = a->heads * size;
    for (size_t s = first; s < last; s++) {
        size_t start = (size_t)a->key_offsets[s], count = (size_t)a->key_offsets[s + 1] - start;
        size_t end = (size_t)a->query_offsets[s + 1];
        for (size_t head = 0; head < a->heads; head++) {
            const float *k = a->k + start * a->kv_stride + head * size;
            FN(turn)(k, a->kv_stride, count, size, keys_turned, stride);
            FN(turn)(a->v + start * a->kv_stride + head * size, a->kv_stride, count, size,
                     values_turned, stride);
            float *dk = g->k + start * a->kv_stride + head * size;
            float *dv = g->v + start * a->kv_stride + head * size;
            struct FN(asking) asking = {0};
            for (size_t row = (size_t)a->query_offsets[s]; row < end; row++) {
                size_t n = (row - (size_t)a->query_offsets[s]) % FN(group);
                if (n == 0) {
                    asking = FN(ask)(a, row, end, count, head, content);
                    FN(scores)(a, &asking, head, content, keys_turned, stride, shares);
                }
                size_t keys = asking.keys[n], column = asking.column[n];
                float *p = shares + n * stride;
                const float *out = g->out + row * a->out_stride + head * size;
                float log_sum = a->log_sum[row * a->heads + head];
                uint32_t place = FN(draw_place)(a, row, head);
                floats together = 0;
                for (size_t j = 0; j < keys; j += LANES) {
                    floats share = FN(exp)(FN(load)(p + j) - log_sum), slope = 0;
                    for (size_t c = 0; c < size; c++)
                        slope += out[c] * FN(load)(values_turned + c * stride + j);
                    floats open = 1;
                    if (a->dropout.closed) open = FN(open)(&a->dropout, place + (uint32_t)j);
                    slope *= open;
                    together += share * slope;
                    FN(store)(dp + j, slope);
                    FN(store)(p + j, share);
                }
                float mean = FN(sum)(together);
                const float *q = a->q + row * a->q_stride + head * size;
                for (size_t c = 0; c < size; c++)
                    position[c] = q[c] + a->position_bias[head * size + c];
                __builtin_memset(to_keys, 0, 2 * size * sizeof(float));
                for (size_t j = 0; j < keys; j++) {
                    float share = p[j], score = share * (dp[j] - mean) * a->scale;
                    float kept = share;
                    if (a->dropout.closed)
                        kept *= FN(open_one)(&a->dropout, place + (uint32_t)j);
                    size_t m = column + j;
                    FN(move)(dv + j * a->kv_stride, out, kept, size);
                    FN(move)(dk + j * a->kv_stride, content + n * size, score, size);
                    FN(move)(g->positions + m * width + head * size, position, score, size);
                    FN(move)(to_keys, k + j * a->kv_stride, score, size);
                    FN(move)(to_positions, a->position_rows + m * width + head * size, score,
                             size);
                }
                float *restrict dq = g->q + row * a->q_stride + head * size;
                float *restrict du = g->content_bias + head * size;
                float *restrict dw = g->position_bias + head * size;
                for (size_t c = 0; c < size; c++) {
                    dq[c] = to_keys[c] + to_positions[c];
                    du[c] += to_keys[c];
                    dw[c] += to_positions[c];
                }
            }
        }
    }
}
