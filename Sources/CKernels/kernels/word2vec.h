// SPDX-License-Identifier: Apache-2.0
// word2vec (Mikolov et al. 2013), as gensim does it. Sums are in the order of the registers, so
// that the last bits depend on their width: compare with a tolerance, keep no golden float bits.

// Targets whose scores are worked out together.
enum { FN(FEW) = LANES < 8 ? LANES : 8 };
typedef float FN(few) __attribute__((ext_vector_type(FN(FEW))));
typedef int32_t FN(few_bits) __attribute__((ext_vector_type(FN(FEW))));

// 1 / (1 + e⁻ˣ) of numbers within ±6, to 2 in 10⁷.
INLINE FN(few) FN(sigmoid)(FN(few) x) {
    // e⁻ˣ = 2ⁿ · e^r, |r| <= ln 2 / 2; e^r by its series.
    FN(few) power = x * -1.44269504f;
    FN(few_bits) n = __builtin_convertvector(
        power + __builtin_elementwise_copysign((FN(few))(0.5f), power), FN(few_bits));
    FN(few) whole = __builtin_convertvector(n, FN(few));
    FN(few) r = (power - whole) * 0.693147181f;
    FN(few) series = 1 + r * (1 + r * (0.5f + r * (0.166666667f + r * (0.0416666667f
        + r * (0.00833333333f + r * 0.00138888889f)))));
    FN(few) scale = (FN(few))((n + 127) << 23);
    return 1 / (1 + series * scale);
}

// Predicts targets[0], and not the other count - 1, from hidden: moves the targets' rows, and
// adds to error how hidden is to be moved. vectors: registers of a row.
INLINE void FN(predict)(const float *hidden, float *error, float *output, size_t vectors,
                        const uint32_t *targets, size_t count, float alpha) {
    size_t stride = vectors * LANES;
    for (size_t first = 0; first < count; first += FN(FEW)) {
        size_t some = count - first < FN(FEW) ? count - first : FN(FEW);
        float found[FN(FEW)] = {0};
        for (size_t t = 0; t < some; t++) {
            const float *row = output + targets[first + t] * stride;
            floats sum = 0;
            for (size_t v = 0; v < vectors; v++)
                sum += FN(load)(hidden + v * LANES) * FN(load)(row + v * LANES);
            found[t] = FN(sum)(sum);
        }
        FN(few) scores, labels = 0;
        __builtin_memcpy(&scores, found, sizeof scores);
        labels[0] = first == 0;
        // A score outside ±6 changes nothing, as in word2vec; neither does a NaN.
        FN(few) gradients = (labels - FN(sigmoid)(scores)) * alpha;
        gradients = (scores > -6 & scores < 6) ? gradients : 0;
        float moves[FN(FEW)];
        __builtin_memcpy(moves, &gradients, sizeof moves);
        for (size_t t = 0; t < some; t++) {
            if (moves[t] == 0) continue;
            float *row = output + targets[first + t] * stride;
            floats gradient = FN(splat)(moves[t]);
            for (size_t v = 0; v < vectors; v++) {
                floats value = FN(load)(row + v * LANES);
                FN(store)(error + v * LANES, FN(load)(error + v * LANES) + gradient * value);
                FN(store)(row + v * LANES, value + gradient * FN(load)(hidden + v * LANES));
            }
        }
    }
}

// All windows of a part of a sentence, with a row of `vectors` registers known to the compiler
// where it is short.
INLINE void FN(train_windows)(const struct larder_word2vec *w, size_t vectors) {
    size_t stride = vectors * LANES;
    float *hidden = w->scratch, *error = hidden + stride;
    const uint32_t *negatives = w->negatives;
    for (size_t center = w->first; center < w->last; center++) {
        size_t reach = w->reach[center - w->first];
        size_t low = center > reach ? center - reach : 0;
        size_t high = center + reach < w->count ? center + reach + 1 : w->count;
        if (high - low < 2) continue;
        uint32_t targets[1 + LARDER_WORD2VEC_NEGATIVES] = {w->words[center]};
        for (size_t step = w->skip_gram ? low : center; step < (w->skip_gram ? high : center + 1);
             step++) {
            if (w->skip_gram && step == center) continue;
            size_t count = 1;
            for (size_t i = 0; i < w->negative; i++) {
                // The rows of the next steps come from memory while this one is worked on.
                const float *row = w->output + negatives[2 * w->negative + i] * stride;
                for (size_t v = 0; v < vectors; v++) __builtin_prefetch(row + v * LANES, 1);
                targets[count] = negatives[i];
                count += negatives[i] != targets[0];
            }
            negatives += w->negative;
            size_t from = w->skip_gram ? step : low, to = w->skip_gram ? step + 1 : high;
            float share = 1.0f / (float)(w->skip_gram ? 1 : high - low - 1);
            for (size_t v = 0; v < vectors; v++) {
                floats sum = 0;
                for (size_t i = from; i < to; i++) {
                    const float *row = w->input + w->words[i] * stride + v * LANES;
                    if (w->skip_gram || i != center) sum += FN(load)(row);
                }
                FN(store)(hidden + v * LANES, sum * share);
                FN(store)(error + v * LANES, FN(splat)(0));
            }
            FN(predict)(hidden, error, w->output, vectors, targets, count, w->alpha);
            for (size_t i = from; i < to; i++) {
                if (!w->skip_gram && i == center) continue;
                float *row = w->input + w->words[i] * stride;
                for (size_t v = 0; v < vectors; v++) {
                    FN(store)(row + v * LANES,
                              FN(load)(row + v * LANES) + FN(load)(error + v * LANES));
                }
            }
        }
    }
}

static void FN(word2vec)(const struct larder_word2vec *w) {
    size_t vectors = w->stride / LANES;
    switch (vectors) {
        case 1: return FN(train_windows)(w, 1);
        case 2: return FN(train_windows)(w, 2);
        case 3: return FN(train_windows)(w, 3);
        case 4: return FN(train_windows)(w, 4);
        case 7: return FN(train_windows)(w, 7);
        case 8: return FN(train_windows)(w, 8);
        default: return FN(train_windows)(w, vectors);
    }
}

// SplitMix64, several numbers at once: the upper half of each picks a place of the alias table, the
// lower 24 bits are the coin that is thrown there (Vose 1991).
static void FN(draw)(const float *threshold, const uint32_t *alias, size_t count, uint64_t *state,
                     uint32_t *drawn, size_t n) {
    uint64_t start = *state;
    for (size_t i = 0; i < n; i++) {
        uint64_t z = start + (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        z ^= z >> 31;
        uint32_t place = (uint32_t)(((z >> 32) * count) >> 32);
        float coin = (float)(int32_t)(z & 0xffffff) * 0x1p-24f;
        uint32_t other = alias[place];
        drawn[i] = coin < threshold[place] ? place : other;
    }
    *state = start + n * UINT64_C(0x9e3779b97f4a7c15);
}
