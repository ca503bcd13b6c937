// SPDX-License-Identifier: Apache-2.0
// The list of one query: survivors pile up, and are cut back to the k best now and then, which
// is cheaper than a heap because survivors are few once the threshold is warm.
#include "kernels/levels.h"
#include <stdlib.h>
#include <string.h>

static void cut(struct larder_topk_list *list) {
    if (list->count < list->k) return;
    float threshold = larder_topk_kth(list->scores, list->count, list->k);
    uint32_t ties = list->k, count = 0;
    for (uint32_t i = 0; i < list->count; i++) ties -= list->scores[i] > threshold;
    for (uint32_t i = 0; i < list->count; i++) {
        float score = list->scores[i];
        int32_t row = list->rows[i];
        int is_tie = score == threshold && ties > 0;
        ties -= (uint32_t)is_tie;
        list->scores[count] = score;
        list->rows[count] = row;
        count += score > threshold || is_tie;
    }
    list->count = count;
    list->threshold = threshold;
}

int larder_topk_excludes(const struct larder_topk_list *list, int32_t row) {
    size_t low = 0, high = list->excluded_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list->excluded[middle] < row) low = middle + 1; else high = middle;
    }
    return low < list->excluded_count && list->excluded[low] == row;
}

void larder_topk_keep(struct larder_topk_list *list, const float *scores, uint64_t survivors,
                      const int32_t *rows) {
    while (survivors) {
        int i = __builtin_ctzll(survivors);
        survivors &= survivors - 1;
        // A cut on the way may have raised it.
        if (!(scores[i] > list->threshold) || larder_topk_excludes(list, rows[i])) continue;
        list->scores[list->count] = scores[i] + 0.0f;  // -0 is 0
        list->rows[list->count++] = rows[i];
        if (list->count == list->capacity) cut(list);
    }
}

void larder_topk_begin(struct larder_topk_list *list, const float *scores, const int32_t *rows,
                       size_t count) {
    for (size_t i = 0; i < count; i++) {
        list->scores[i] = scores[i];
        list->rows[i] = rows[i];
    }
    list->count = (uint32_t)count;
    list->threshold = count == list->k ? scores[count - 1] : -__builtin_inff();
}

struct hit {
    float score;
    int32_t row;
};

static int best_first(const void *a, const void *b) {
    const struct hit *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->row > y->row ? 1 : -1;
}

size_t larder_topk_end(struct larder_topk_list *list, float *scores, int32_t *rows) {
    cut(list);
    // Sorted in the place of the scores, which has room for it: from the end, so that none is
    // written over before it was read.
    struct hit *hits = (struct hit *)list->scores;
    for (uint32_t i = list->count; i-- > 0;) {
        struct hit hit = {list->scores[i], list->rows[i]};
        memcpy(&hits[i], &hit, sizeof hit);
    }
    qsort(hits, list->count, sizeof *hits, best_first);
    for (uint32_t i = 0; i < list->count; i++) {
        scores[i] = hits[i].score;
        rows[i] = hits[i].row;
    }
    return list->count;
}

void larder_topk_pack_queries(const float *queries, size_t count, size_t depth, float *tiles) {
    for (size_t first = 0; first < count; first += QUERIES) {
        for (size_t p = 0; p < depth; p++) {
            for (size_t q = first; q < first + QUERIES; q++) {
                *tiles++ = q < count ? queries[q * depth + p] : 0;
            }
        }
    }
}
