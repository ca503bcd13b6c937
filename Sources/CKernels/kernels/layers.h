// SPDX-License-Identifier: Apache-2.0
// What neural networks do beside matrix products. Sums are in the order of the registers, so that
// the last bits depend on their width: compare with a tolerance, keep no golden float bits.

typedef int32_t FN(ints) __attribute__((ext_vector_type(LANES)));
#define ints FN(ints)

// eˣ to 2 in 10⁷; 0 below -87, and no more than e⁸⁸.
INLINE floats FN(exp)(floats x) {
    // 2ⁿ · eʳ, |r| <= ln 2 / 2; n is rounded by a sum that has no bits for less than ones.
    floats bounded = FN(max)(x, FN(splat)(-87));
    bounded = bounded < 88 ? bounded : FN(splat)(88);
    floats shifted = bounded * 1.44269504f + 12582912;
    floats n = shifted - 12582912;
    floats r = n * -0.693359375f + bounded;
    r = n * 2.12194440e-4f + r;
    // The polynomial of Cephes' expf.
    floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + (r + 1);
    // The low bits of what was shifted are those of n.
    floats scale = (floats)(((ints)shifted << 23) + (127 << 23));
    return x < -87 ? 0 : p * scale;
}

// MARK: optimisers

static void FN(optimise)(const struct larder_optimiser *o, float *restrict values,
                         float *restrict state, const float *restrict gradient, size_t count) {
    switch (o->kind) {
    case LARDER_SGD:
        for (size_t i = 0; i < count; i++) values[i] -= o->rate * (o->scale * gradient[i]);
        break;
    case LARDER_ADAGRAD:
        for (size_t i = 0; i < count; i++) {
            float g = o->scale * gradient[i];
            float sum = state[i] + g * g;
            state[i] = sum;
            values[i] -= o->rate * g / __builtin_sqrtf(sum + o->epsilon);
        }
        break;
    case LARDER_ADAMW:
        for (size_t i = 0; i < count; i++) {
            float g = o->scale * gradient[i];
            float first = o->beta1 * state[i] + (1 - o->beta1) * g;
            float second = o->beta2 * state[count + i] + (1 - o->beta2) * g * g;
            state[i] = first;
            state[count + i] = second;
            values[i] -= o->rate
                * (first * o->unbias1 / (__builtin_sqrtf(second * o->unbias2) + o->epsilon)
                   + o->decay * values[i]);
        }
        break;
    }
}

// MARK: embeddings

// to += weight × from.
INLINE void FN(add)(float *restrict to, const float *restrict from, float weight, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] += weight * from[i];
}

static void FN(embed)(const float *table, size_t width, const int32_t *codes,
                      const int32_t *offsets, const float *weight, float *to, size_t stride,
                      size_t first, size_t last) {
    size_t end = offsets ? (size_t)offsets[last] : last;
    for (size_t owner = first; owner < last; owner++) {
        float *row = to + owner * stride;
        size_t e = offsets ? (size_t)offsets[owner] : owner;
        size_t behind = offsets ? (size_t)offsets[owner + 1] : owner + 1;
        // Rows are met at random: those of a few entries later are fetched now.
        if (e + 8 < end) __builtin_prefetch(table + (size_t)codes[e + 8] * width);
        if (!offsets) {
            __builtin_memcpy(row, table + (size_t)codes[e] * width, width * sizeof(float));
            continue;
        }
        __builtin_memset(row, 0, width * sizeof(float));
        for (; e < behind; e++)
            FN(add)(row, table + (size_t)codes[e] * width, weight ? weight[e] : 1, width);
    }
}

// The gradient of one row of the table: not always copied.
INLINE const float *FN(row_gradient)(const struct larder_uses *uses, int32_t row,
                                     const float *gradient, size_t stride, size_t width,
                                     float *scratch) {
    int32_t e = uses->first[row];
    if (uses->next[e] < 0 && !uses->weight) return gradient + (size_t)uses->owner[e] * stride;
    __builtin_memset(scratch, 0, width * sizeof(float));
    for (; e >= 0; e = uses->next[e])
        FN(add)(scratch, gradient + (size_t)uses->owner[e] * stride,
                uses->weight ? uses->weight[e] : 1, width);
    return scratch;
}

static void FN(update_rows)(const struct larder_optimiser *optimiser,
                            const struct larder_uses *uses, size_t first, size_t last,
                            const float *gradient, size_t stride, size_t width, float *table,
                            float *state, float *scratch) {
    size_t slots = optimiser->kind == LARDER_SGD ? 0 : optimiser->kind == LARDER_ADAGRAD ? 1 : 2;
    for (size_t u = first; u < last; u++) {
        size_t row = (size_t)uses->rows[u];
        if (u + 4 < last) {
            size_t later = (size_t)uses->rows[u + 4];
            __builtin_prefetch(table + later * width, 1);
            if (slots) __builtin_prefetch(state + later * width * slots, 1);
        }
        const float *sum = FN(row_gradient)(uses, uses->rows[u], gradient, stride, width, scratch);
        FN(optimise)(optimiser, table + row * width, state + row * width * slots, sum, width);
    }
}

static double FN(squares)(const float *values, size_t count) {
    double total = 0;
    // In pieces, so that a long sum of floats loses nothing.
    for (size_t start = 0; start < count; start += 4096) {
        size_t end = start + 4096 < count ? start + 4096 : count, i = start;
        floats sum = 0;
        for (; i + LANES <= end; i += LANES) {
            floats value = FN(load)(values + i);
            sum += value * value;
        }
        total += FN(sum)(sum);
        for (; i < end; i++) total += (double)values[i] * values[i];
    }
    return total;
}

static double FN(row_squares)(const struct larder_uses *uses, size_t first, size_t last,
                              const float *gradient, size_t stride, size_t width,
                              float *scratch) {
    double total = 0;
    for (size_t u = first; u < last; u++)
        total += FN(squares)(
            FN(row_gradient)(uses, uses->rows[u], gradient, stride, width, scratch), width);
    return total;
}

static void FN(gather_sums)(const struct larder_uses *uses, size_t first, size_t last,
                            const float *from, size_t width, float *to) {
    for (size_t row = first; row < last; row++) {
        float *sum = to + row * width;
        __builtin_memset(sum, 0, width * sizeof(float));
        for (int32_t e = uses->first[row]; e >= 0; e = uses->next[e])
            FN(add)(sum, from + (size_t)uses->owner[e] * width, 1, width);
    }
}

// MARK: activations

static void FN(add_bias)(float *x, const float *bias, size_t rows, size_t columns,
                         int rectifies) {
    for (size_t r = 0; r < rows; r++) {
        float *restrict row = x + r * columns;
        if (rectifies) {
            for (size_t c = 0; c < columns; c++) {
                float value = row[c] + bias[c];
                // Not a NaN's: a training that broke must be seen to have.
                row[c] = value < 0 ? 0 : value;
            }
        } else {
            for (size_t c = 0; c < columns; c++) row[c] += bias[c];
        }
    }
}

static void FN(rectify_back)(float *restrict gradient, const float *restrict y, size_t count) {
    for (size_t i = 0; i < count; i++) gradient[i] = y[i] > 0 ? gradient[i] : 0;
}

static void FN(column_sums)(const float *x, size_t rows, size_t columns, size_t first,
                            size_t last, float *sums) {
    __builtin_memset(sums + first, 0, (last - first) * sizeof(float));
    for (size_t r = 0; r < rows; r++)
        FN(add)(sums + first, x + r * columns + first, 1, last - first);
}

static void FN(add_pairs)(const float *a, const int32_t *at_a, const float *b,
                          const int32_t *at_b, size_t rows, size_t columns, float *to) {
    for (size_t r = 0; r < rows; r++) {
        const float *first = a + (size_t)at_a[r] * columns;
        const float *second = b + (size_t)at_b[r] * columns;
        float *restrict row = to + r * columns;
        for (size_t c = 0; c < columns; c++) {
            float value = first[c] + second[c];
            row[c] = value < 0 ? 0 : value;
        }
    }
}

// MARK: losses

static void FN(softmax)(const struct larder_softmax *s) {
    for (size_t r = 0; r < s->rows; r++) {
        float *row = s->logits + r * s->stride;
        size_t target = (size_t)s->target[r], c = 0;
        // So that the target's column gets its own bias from the loops below.
        row[target] += s->target_bias[r] - s->bias[target];
        floats high = FN(splat)(-__builtin_inff());
        for (; c + LANES <= s->columns; c += LANES)
            high = FN(max)(FN(load)(row + c) + FN(load)(s->bias + c), high);
        float most = FN(most)(high);
        for (; c < s->columns; c++) {
            float value = row[c] + s->bias[c];
            most = value > most ? value : most;
        }
        float aim = row[target] + s->bias[target];
        floats sums = 0, shift = FN(splat)(most);
        for (c = 0; c + LANES <= s->columns; c += LANES) {
            floats value = FN(exp)(FN(load)(row + c) + FN(load)(s->bias + c) - shift);
            FN(store)(row + c, value);
            sums += value;
        }
        float total = FN(sum)(sums);
        if (c < s->columns) {
            // The last few stand in a register of their own, beside what counts nothing.
            float rest[LANES];
            for (size_t i = 0; i < LANES; i++)
                rest[i] = c + i < s->columns ? row[c + i] + s->bias[c + i] - most
                                             : -__builtin_inff();
            floats value = FN(exp)(FN(load)(rest));
            total += FN(sum)(value);
            for (size_t i = 0; c + i < s->columns; i++) row[c + i] = value[i];
        }
        s->loss[r] = __builtin_logf(total) + most - aim;
        float share = s->scale / total;
        for (size_t i = 0; i < s->columns; i++) row[i] *= share;
        row[target] -= s->scale;
    }
}

static double FN(binary_cross_entropy)(const float *logits, const float *labels, size_t count,
                                       float scale, float *gradient) {
    double total = 0;
    for (size_t i = 0; i < count; i++) {
        float x = logits[i], y = labels[i];
        // Of -|x|, so that nothing grows beyond all numbers.
        float small = __builtin_expf(-__builtin_fabsf(x));
        total += (x > 0 ? x : 0) - x * y + __builtin_log1pf(small);
        float sigmoid = x >= 0 ? 1 / (1 + small) : small / (1 + small);
        gradient[i] = (sigmoid - y) * scale;
    }
    return total;
}
