// SPDX-License-Identifier: Apache-2.0
// scan8 with VNNI: four products of bytes are added to 32 bits in one step, 64 bytes at once.
#if defined(__x86_64__)
#include "kernels/levels.h"
#include <immintrin.h>

#define LEVEL vnni
#define LANES 16
#define EMULATES_FMA 0
#pragma clang attribute push(__attribute__((target("arch=x86-64-v4,avx512vnni"))), apply_to = function)
#include "kernels/level.h"
#include "kernels/topk8_limits.h"

enum { VECTORS = PANEL / 16 };

INLINE void tile(struct larder_topk_block8 *block, size_t first, const uint8_t *codes,
                 const int32_t *sums, size_t groups, const struct larder_topk_panel8 *bounds,
                 const int32_t *rows) {
    __m512i products[QUERIES][VECTORS], item[VECTORS];
    const char *panel = (const char *)sums;
    UNROLL for (int v = 0; v < VECTORS; v++) item[v] = _mm512_loadu_si512(panel + v * 64);
    UNROLL for (int q = 0; q < QUERIES; q++)
        UNROLL for (int v = 0; v < VECTORS; v++) products[q][v] = item[v];
    for (size_t g = 0; g < groups; g++) {
        panel += PANEL * 4;
        UNROLL for (int v = 0; v < VECTORS; v++) item[v] = _mm512_loadu_si512(panel + v * 64);
        UNROLL for (int q = 0; q < QUERIES; q++) {
            __m512i x = _mm512_set1_epi32(*(const int32_t *)(codes + q * 4));
            UNROLL for (int v = 0; v < VECTORS; v++)
                products[q][v] = _mm512_dpbusd_epi32(products[q][v], x, item[v]);
        }
        codes += QUERIES * 4;
    }
    // Nearly always nothing passes: one comparison of the greatest says so.
    __mmask16 any = 0;
    UNROLL for (int q = 0; q < QUERIES; q++) {
        __m512i most = products[q][0];
        UNROLL for (int v = 1; v < VECTORS; v++) most = _mm512_max_epi32(most, products[q][v]);
        any |= _mm512_cmpgt_epi32_mask(most, _mm512_set1_epi32(block->limits[first + q]));
    }
    if (__builtin_expect(any == 0, 1)) return;
    int32_t found[QUERIES][PANEL];
    UNROLL for (int q = 0; q < QUERIES; q++)
        UNROLL for (int v = 0; v < VECTORS; v++)
            _mm512_storeu_si512(found[q] + v * 16, products[q][v]);
    for (int q = 0; q < QUERIES; q++) {
        __m512i limit = _mm512_set1_epi32(block->limits[first + q]);
        uint64_t survivors = 0;
        UNROLL for (int v = 0; v < VECTORS; v++) {
            __m512i these = _mm512_loadu_si512(found[q] + v * 16);
            survivors |= (uint64_t)_mm512_cmpgt_epi32_mask(these, limit) << (v * 16);
        }
        if (survivors) larder_topk_keep8(block, first + q, found[q], survivors, bounds, rows);
    }
}

void larder_topk_scan8_vnni(struct larder_topk_block8 *block, const void *panels,
                            const struct larder_topk_panel8 *bounds, size_t panel_count,
                            const int32_t *rows) {
    size_t groups = (block->items->depth + 3) / 4;
    for (size_t p = 0; p < panel_count; p++) {
        const int32_t *sums = (const void *)((const char *)panels + p * PANEL * (groups + 1) * 4);
        FN(limits)(block, &bounds[p]);
        for (size_t t = 0; t < block->tile_count; t++) {
            tile(block, t * QUERIES, block->codes + t * groups * QUERIES * 4, sums, groups,
                 &bounds[p], rows + p * PANEL);
        }
    }
}
#pragma clang attribute pop
#endif
