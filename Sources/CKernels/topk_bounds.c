// SPDX-License-Identifier: Apache-2.0
// Exact top-k with a first pass in 8 bits. What that pass knows of a score is an interval; what
// the intervals cannot exclude is scored exactly. docs/model.md has the proof.
#include "kernels/levels.h"
#include <math.h>
#include <string.h>

// Bounds are computed in floating point too: each is a little wider than its formula.
static const double UP = 1 + 1e-6;
// Smaller vectors are all residue, so that products of two units stay normal numbers.
static const double LEAST_UNIT = 1e-15;

// Of the score and of the bounds, as a share of |q|·|v| + |bias|.
static double rounding(size_t depth) { return (double)(depth + 16) * 0x1p-23; }

static double greatest(const float *values, size_t count) {
    float found = 0;
    for (size_t i = 0; i < count; i++) {
        float value = fabsf(values[i]);
        if (value > found) found = value;
    }
    return found;
}

static double unit_of(double greatest) { return fmax(greatest / 127 * UP, LEAST_UNIT); }

// Writes the codes, a group of four each `stride` bytes; widens the bounds to hold this vector,
// and returns the sum of the codes.
static int32_t quantize(const float *values, size_t depth, int offset, uint8_t *codes,
                        size_t stride, struct larder_topk_panel8 *bounds) {
    double norm = 0, residue = 0;
    int32_t sum = 0;
    for (size_t p = 0; p < depth; p++) {
        double value = values[p], code = nearbyint(value / bounds->unit);
        double rest = value - code * bounds->unit;
        norm += value * value;
        residue += rest * rest;
        sum += (int32_t)code;
        codes[p / 4 * stride + p % 4] = (uint8_t)((int)code + offset);
    }
    bounds->norm = fmax(bounds->norm, sqrt(norm) * UP);
    bounds->residue = fmax(bounds->residue, sqrt(residue) * UP);
    return sum;
}

size_t larder_topk_panel8_size(size_t depth) {
    return PANEL * (sizeof(int32_t) + (depth + 3) / 4 * 4);
}

void larder_topk_pack8(const struct larder_topk_items *items, const int32_t *rows, size_t count,
                       void *panel, struct larder_topk_panel8 *bounds) {
    size_t depth = items->depth;
    double most = 0;
    *bounds = (struct larder_topk_panel8){.bias = items->bias ? -__builtin_inff() : 0};
    for (size_t i = 0; i < count; i++) {
        size_t row = (size_t)rows[i];
        most = fmax(most, greatest(items->values + row * depth, depth));
        if (items->bias) {
            double bias = items->bias[row];
            bounds->bias = fmax(bounds->bias, bias + rounding(depth) * fabs(bias));
        }
    }
    bounds->unit = unit_of(most);
    int32_t *sums = panel;
    uint8_t *codes = (uint8_t *)(sums + PANEL);
    memset(panel, 0, larder_topk_panel8_size(depth));
    for (size_t i = 0; i < PANEL; i++) {
        // No limit is as low.
        sums[i] = -2 * FAR;
        if (i >= count) continue;
        size_t row = (size_t)rows[i];
        int32_t sum = quantize(items->values + row * depth, depth, 0, codes + i * 4, PANEL * 4,
                               bounds);
        // Codes of queries are 128 too high.
        sums[i] = -128 * sum;
    }
}

void larder_topk_pack_query8(struct larder_topk_block8 *block, size_t place) {
    size_t depth = block->items->depth;
    const float *query = block->queries + place * depth;
    struct larder_topk_panel8 own = {.unit = unit_of(greatest(query, depth))};
    quantize(query, depth, 128,
             block->codes + (place / QUERIES * ((depth + 3) / 4) * QUERIES + place % QUERIES) * 4,
             QUERIES * 4, &own);
    block->unit[place] = own.unit;
    block->inverse[place] = 1 / own.unit;
    block->reach[place] = (own.residue + rounding(depth) * own.norm) * UP;
    block->span[place] = (own.norm + own.residue) * UP;
}

// MARK: lists

// As many again before the next cut, but no fewer than a few.
static void plan(struct larder_topk_list8 *list) {
    uint32_t next = list->count + (list->exact.k > 16 ? list->exact.k : 16);
    list->next = next < list->exact.capacity ? next : list->exact.capacity;
}

void larder_topk_begin8(struct larder_topk_block8 *block, size_t place, const float *scores,
                        const int32_t *rows, size_t count) {
    struct larder_topk_list8 *list = &block->lists[place];
    for (size_t i = 0; i < count; i++) {
        list->lower[i] = list->upper[i] = scores[i];
        list->rows[i] = rows[i];
    }
    list->count = (uint32_t)count;
    list->rescored = 0;
    block->floor[place] = count == list->exact.k ? scores[count - 1] : -__builtin_inf();
    plan(list);
}

static void score_all(struct larder_topk_block8 *block, size_t place) {
    enum { MANY = 64 };
    struct larder_topk_list8 *list = &block->lists[place];
    const float *query = block->queries + place * block->items->depth;
    larder_topk_begin(&list->exact, 0, 0, 0);
    for (uint32_t first = 0; first < list->count; first += MANY) {
        float scores[MANY];
        uint32_t count = list->count - first < MANY ? list->count - first : MANY;
        larder_topk_score(query, block->items, list->rows + first, count, scores);
        larder_topk_keep(&list->exact, scores, UINT64_MAX >> (MANY - count), list->rows + first);
    }
}

size_t larder_topk_end8(struct larder_topk_block8 *block, size_t place, float *scores,
                        int32_t *rows) {
    score_all(block, place);
    return larder_topk_end(&block->lists[place].exact, scores, rows);
}

// Drops what k lower bounds exclude. Where that leaves too many, scores decide.
static void cut(struct larder_topk_block8 *block, size_t place) {
    struct larder_topk_list8 *list = &block->lists[place];
    float floor = larder_topk_kth(list->lower, list->count, list->exact.k);
    uint32_t count = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        float lower = list->lower[i], upper = list->upper[i];
        int32_t row = list->rows[i];
        list->lower[count] = lower;
        list->upper[count] = upper;
        list->rows[count] = row;
        count += upper >= floor;
    }
    list->count = count;
    block->floor[place] = floor;
    if (count > list->exact.capacity / 2) {
        list->rescored += count;
        count = (uint32_t)larder_topk_end8(block, place, list->lower, list->rows);
        for (uint32_t i = 0; i < count; i++) list->upper[i] = list->lower[i];
        list->count = count;
        block->floor[place] = list->lower[count - 1];
    }
    plan(list);
}

// Outwards to a float.
static float down(double value) { return (float)(value - fabs(value) * 0x1p-23 - 0x1p-140); }

void larder_topk_keep8(struct larder_topk_block8 *block, size_t place, const int32_t *products,
                       uint64_t survivors, const struct larder_topk_panel8 *panel,
                       const int32_t *rows) {
    struct larder_topk_list8 *list = &block->lists[place];
    double unit = panel->unit * block->unit[place], share = rounding(block->items->depth);
    double margin = larder_topk_margin(block->reach[place], block->span[place], panel);
    while (survivors) {
        int i = __builtin_ctzll(survivors);
        survivors &= survivors - 1;
        double bias = block->items->bias ? block->items->bias[rows[i]] : 0;
        double middle = products[i] * unit + bias, width = margin + share * fabs(bias);
        float upper = -down(-middle - width);
        if (!(upper > block->floor[place])) continue;
        if (larder_topk_excludes(&list->exact, rows[i])) continue;
        list->lower[list->count] = down(middle - width);
        list->upper[list->count] = upper;
        list->rows[list->count++] = rows[i];
        if (list->count == list->next) cut(block, place);
    }
}
