// SPDX-License-Identifier: Apache-2.0
// Picks the kernels of this processor, once.
#include "kernels/levels.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const struct level {
    const char *name;
    const struct kernels *kernels;
} levels[] = {
#if defined(__x86_64__)
    {"v4", &kernels_v4},
    {"v3", &kernels_v3},
#endif
    {"baseline", &kernels_baseline},
};

static int is_supported(const char *name) {
#if defined(__x86_64__)
    if (strcmp(name, "v4") == 0) return __builtin_cpu_supports("x86-64-v4");
    if (strcmp(name, "v3") == 0) return __builtin_cpu_supports("x86-64-v3");
#endif
    return 1;
}

// LARDER_CPU names the best level that may be used; a name that is none means no limit.
static const struct level *choose(void) {
    const char *limit = getenv("LARDER_CPU");
    size_t count = sizeof levels / sizeof *levels, first = 0;
    for (size_t i = 0; limit && i < count; i++) {
        if (strcmp(levels[i].name, limit) == 0) first = i;
    }
    while (!is_supported(levels[first].name)) first++;
    return &levels[first];
}

static const struct level *level(void) {
    static _Atomic(const struct level *) chosen;
    const struct level *found = atomic_load_explicit(&chosen, memory_order_acquire);
    if (!found) {
        found = choose();
        atomic_store_explicit(&chosen, found, memory_order_release);
    }
    return found;
}

const char *larder_cpu_level(void) { return level()->name; }

int larder_topk_prefers8(void) {
#if defined(__x86_64__)
    return level()->kernels == &kernels_v4 && __builtin_cpu_supports("avx512vnni");
#else
    return 0;
#endif
}

float larder_topk_kth(const float *values, size_t count, size_t k) {
    return level()->kernels->kth(values, count, k);
}

void larder_topk_score(const float *query, const struct larder_topk_items *items,
                       const int32_t *rows, size_t count, float *scores) {
    level()->kernels->score(query, items, rows, count, scores);
}

void larder_topk_pack(const struct larder_topk_items *items, const int32_t *rows, size_t count,
                      float *panel) {
    level()->kernels->pack(items, rows, count, panel);
}

void larder_topk_scan(const float *tiles, size_t tile_count, const float *panels,
                      size_t panel_count, size_t depth, const int32_t *rows,
                      struct larder_topk_list *lists) {
    level()->kernels->scan(tiles, tile_count, panels, panel_count, depth, rows, lists);
}

void larder_topk_scan8(struct larder_topk_block8 *block, const void *panels,
                       const struct larder_topk_panel8 *bounds, size_t panel_count,
                       const int32_t *rows) {
#if defined(__x86_64__)
    if (larder_topk_prefers8()) {
        larder_topk_scan8_vnni(block, panels, bounds, panel_count, rows);
        return;
    }
#endif
    level()->kernels->scan8(block, panels, bounds, panel_count, rows);
}

void larder_word2vec(const struct larder_word2vec *windows) {
    level()->kernels->word2vec(windows);
}

void larder_draw(const float *threshold, const uint32_t *alias, size_t count, uint64_t *state,
                 uint32_t *drawn, size_t n) {
    level()->kernels->draw(threshold, alias, count, state, drawn, n);
}

void larder_optimise(const struct larder_optimiser *optimiser, float *values, float *state,
                     const float *gradient, size_t count) {
    level()->kernels->optimise(optimiser, values, state, gradient, count);
}

void larder_embed(const float *table, size_t width, const int32_t *codes, const int32_t *offsets,
                  const float *weight, float *to, size_t stride, size_t first, size_t last) {
    level()->kernels->embed(table, width, codes, offsets, weight, to, stride, first, last);
}

void larder_update_rows(const struct larder_optimiser *optimiser, const struct larder_uses *uses,
                        size_t first, size_t last, const float *gradient, size_t stride,
                        size_t width, float *table, float *state, float *scratch) {
    level()->kernels->update_rows(optimiser, uses, first, last, gradient, stride, width, table, state, scratch);
}

double larder_row_squares(const struct larder_uses *uses, size_t first, size_t last,
                          const float *gradient, size_t stride, size_t width, float *scratch) {
    return level()->kernels->row_squares(uses, first, last, gradient, stride, width, scratch);
}

double larder_squares(const float *values, size_t count) {
    return level()->kernels->squares(values, count);
}

void larder_gather_sums(const struct larder_uses *uses, size_t first, size_t last,
                        const float *from, size_t width, float *to) {
    level()->kernels->gather_sums(uses, first, last, from, width, to);
}

void larder_add_bias(float *x, const float *bias, size_t rows, size_t columns, int rectifies) {
    level()->kernels->add_bias(x, bias, rows, columns, rectifies);
}

void larder_rectify_back(float *gradient, const float *y, size_t count) {
    level()->kernels->rectify_back(gradient, y, count);
}

void larder_column_sums(const float *x, size_t rows, size_t columns, size_t first, size_t last,
                        float *sums) {
    level()->kernels->column_sums(x, rows, columns, first, last, sums);
}

void larder_add_pairs(const float *a, const int32_t *at_a, const float *b, const int32_t *at_b,
                      size_t rows, size_t columns, float *to) {
    level()->kernels->add_pairs(a, at_a, b, at_b, rows, columns, to);
}

void larder_softmax(const struct larder_softmax *softmax) {
    level()->kernels->softmax(softmax);
}

double larder_binary_cross_entropy(const float *logits, const float *labels, size_t count,
                                   float scale, float *gradient) {
    return level()->kernels->binary_cross_entropy(logits, labels, count, scale, gradient);
}

void larder_dropout(const struct larder_dropout *dropout, float *x, size_t rows, size_t columns) {
    level()->kernels->dropout(dropout, x, rows, columns);
}

void larder_gelu(float *x, const float *bias, float *y, size_t rows, size_t columns,
                 const struct larder_dropout *dropout) {
    level()->kernels->gelu(x, bias, y, rows, columns, dropout);
}

void larder_gelu_back(float *gradient, const float *x, size_t rows, size_t columns,
                      const struct larder_dropout *dropout) {
    level()->kernels->gelu_back(gradient, x, rows, columns, dropout);
}

void larder_norm(const struct larder_norm *norm, float *a, const float *bias, const float *x,
                 float *y, size_t rows, const struct larder_dropout *dropout) {
    level()->kernels->norm(norm, a, bias, x, y, rows, dropout);
}

void larder_norm_back(const struct larder_norm *norm, const float *gradient, float *dz,
                      float *dgain, float *dshift, size_t rows) {
    level()->kernels->norm_back(norm, gradient, dz, dgain, dshift, rows);
}

// Of the widest registers.
size_t larder_attention_scratch(size_t reach, size_t size) {
    return (2 * size + 5) * (reach + 16) + 8 * size;
}

void larder_attend(const struct larder_attention *attention, size_t first, size_t last,
                   float *scratch) {
    level()->kernels->attend(attention, first, last, scratch);
}

void larder_attend_back(const struct larder_attention *attention,
                        const struct larder_attention_gradient *gradient, size_t first,
                        size_t last, float *scratch) {
    level()->kernels->attend_back(attention, gradient, first, last, scratch);
}
