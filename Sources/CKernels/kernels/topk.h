// SPDX-License-Identifier: Apache-2.0
// Exact top-k: a tile of scores is finished in registers and compared there with the thresholds
// of its queries; only survivors reach memory.

enum {
    // Registers of items beside QUERIES rows of sums: 6 × 4 + 4 + 1 fit in 32, 6 × 2 + 2 + 1 in 16.
    FN(VECTORS) = LANES == 8 || EMULATES_FMA ? 2 : 4,
    FN(COLUMNS) = FN(VECTORS) * LANES,
};

// By bisection between floats, which are ordered as their bits are: passes that count have no
// branches to mispredict, unlike a selection that moves.
static float FN(kth)(const float *values, size_t count, size_t k) {
    union { float value; int32_t bits; } word;
    float least = values[0], most = values[0];
    for (size_t i = 1; i < count; i++) {
        least = values[i] < least ? values[i] : least;
        most = values[i] > most ? values[i] : most;
    }
    // At least k values are at or above low, fewer at or above high.
    word.value = least;
    int64_t low = word.bits ^ (word.bits >> 31 & INT32_MAX);
    word.value = most;
    int64_t high = (word.bits ^ (word.bits >> 31 & INT32_MAX)) + INT64_C(1);
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        word.bits = (int32_t)middle ^ ((int32_t)middle >> 31 & INT32_MAX);
        uint32_t above = 0;
        for (size_t i = 0; i < count; i++) above += values[i] >= word.value;
        if (above >= k) low = middle; else high = middle;
        if (above == k) break;
    }
    word.bits = (int32_t)low ^ ((int32_t)low >> 31 & INT32_MAX);
    float found = __builtin_inff();
    for (size_t i = 0; i < count; i++) {
        found = values[i] >= word.value && values[i] < found ? values[i] : found;
    }
    return found;
}

static void FN(score)(const float *query, const struct larder_topk_items *items,
                      const int32_t *rows, size_t count, float *scores) {
    // Chains of dependent additions: eight side by side hide each other's latency.
    enum { CHAINS = 8 };
    for (size_t first = 0; first < count; first += CHAINS) {
        const float *values[CHAINS];
        float sums[CHAINS];
        for (size_t i = 0; i < CHAINS; i++) {
            size_t row = (size_t)rows[first + i < count ? first + i : first];
            values[i] = items->values + row * items->depth;
            sums[i] = items->bias ? items->bias[row] : 0;
        }
        for (size_t p = 0; p < items->depth; p++) {
            UNROLL for (size_t i = 0; i < CHAINS; i++)
                sums[i] = FN(fma_one)(query[p], values[i][p], sums[i]);
        }
        for (size_t i = 0; i < CHAINS && first + i < count; i++) scores[first + i] = sums[i];
    }
}

static void FN(pack)(const struct larder_topk_items *items, const int32_t *rows, size_t count,
                     float *panel) {
    enum { TOGETHER = 16 };
    for (size_t i = 0; i < PANEL; i++) {
        panel[i] = i >= count ? -__builtin_inff() : items->bias ? items->bias[rows[i]] : 0;
    }
    panel += PANEL;
    for (size_t first = 0; first < PANEL; first += TOGETHER) {
        const float *from[TOGETHER];
        for (size_t i = 0; i < TOGETHER; i++) {
            size_t row = (size_t)rows[first + i < count ? first + i : 0];
            from[i] = items->values + row * items->depth;
        }
        for (size_t p = 0; p < items->depth; p++) {
            for (size_t i = 0; i < TOGETHER; i++) panel[p * PANEL + first + i] = from[i][p];
        }
    }
}

// QUERIES × COLUMNS scores, from the panel's first line of these columns.
INLINE void FN(tile)(const float *queries, const float *panel, size_t depth, const int32_t *rows,
                     struct larder_topk_list *lists) {
    floats sums[QUERIES][FN(VECTORS)], item[FN(VECTORS)];
    UNROLL for (int v = 0; v < FN(VECTORS); v++) item[v] = FN(load)(panel + v * LANES);
    UNROLL for (int q = 0; q < QUERIES; q++)
        UNROLL for (int v = 0; v < FN(VECTORS); v++) sums[q][v] = item[v];
    UNROLL_BY_4 for (size_t p = 0; p < depth; p++) {
        panel += PANEL;
        UNROLL for (int v = 0; v < FN(VECTORS); v++) item[v] = FN(load)(panel + v * LANES);
        UNROLL for (int q = 0; q < QUERIES; q++) {
            floats x = FN(splat)(queries[q]);
            UNROLL for (int v = 0; v < FN(VECTORS); v++)
                sums[q][v] = FN(fma)(x, item[v], sums[q][v]);
        }
        queries += QUERIES;
    }
    // Nearly always nothing passes: one comparison of the greatest says so.
    uint32_t any = 0;
    UNROLL for (int q = 0; q < QUERIES; q++) {
        floats most = sums[q][0];
        UNROLL for (int v = 1; v < FN(VECTORS); v++) most = FN(max)(most, sums[q][v]);
        any |= FN(above)(most, FN(splat)(lists[q].threshold));
    }
    if (__builtin_expect(any == 0, 1)) return;
    float scores[QUERIES][FN(COLUMNS)];
    UNROLL for (int q = 0; q < QUERIES; q++)
        UNROLL for (int v = 0; v < FN(VECTORS); v++) FN(store)(scores[q] + v * LANES, sums[q][v]);
    for (int q = 0; q < QUERIES; q++) {
        floats threshold = FN(splat)(lists[q].threshold);
        uint64_t survivors = 0;
        UNROLL for (int v = 0; v < FN(VECTORS); v++) {
            floats these = FN(load)(scores[q] + v * LANES);
            survivors |= (uint64_t)FN(above)(these, threshold) << (v * LANES);
        }
        if (survivors) larder_topk_keep(&lists[q], scores[q], survivors, rows);
    }
}

static void FN(scan)(const float *tiles, size_t tile_count, const float *panels,
                     size_t panel_count, size_t depth, const int32_t *rows,
                     struct larder_topk_list *lists) {
    for (size_t p = 0; p < panel_count; p++) {
        const float *panel = panels + p * PANEL * (depth + 1);
        for (size_t t = 0; t < tile_count; t++) {
            for (size_t column = 0; column < PANEL; column += FN(COLUMNS)) {
                FN(tile)(tiles + t * QUERIES * depth, panel + column, depth,
                         rows + p * PANEL + column, lists + t * QUERIES);
            }
        }
    }
}
