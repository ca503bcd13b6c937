// SPDX-License-Identifier: Apache-2.0
// The first pass of top-k in 8 bits: products of codes in 32-bit integers, compared with what
// the thresholds and the bounds come to in the same unit.
#include "topk8_limits.h"

static void FN(scan8)(struct larder_topk_block8 *block, const void *panels,
                      const struct larder_topk_panel8 *bounds, size_t panel_count,
                      const int32_t *rows) {
    size_t groups = (block->items->depth + 3) / 4;
    for (size_t p = 0; p < panel_count; p++) {
        const int32_t *sums = (const void *)((const char *)panels + p * PANEL * (groups + 1) * 4);
        const int8_t *panel = (const int8_t *)(sums + PANEL);
        FN(limits)(block, &bounds[p]);
        for (size_t q = 0; q < block->tile_count * QUERIES; q++) {
            const uint8_t *query =
                block->codes + (q / QUERIES * groups * QUERIES + q % QUERIES) * 4;
            int32_t products[PANEL];
            for (size_t i = 0; i < PANEL; i++) products[i] = sums[i];
            for (size_t g = 0; g < groups; g++) {
                for (size_t i = 0; i < PANEL; i++) {
                    for (size_t j = 0; j < 4; j++) {
                        products[i] +=
                            query[g * QUERIES * 4 + j] * panel[(g * PANEL + i) * 4 + j];
                    }
                }
            }
            uint64_t survivors = 0;
            for (size_t i = 0; i < PANEL; i++)
                survivors |= (uint64_t)(products[i] > block->limits[q]) << i;
            if (survivors)
                larder_topk_keep8(block, q, products, survivors, &bounds[p], rows + p * PANEL);
        }
    }
}
