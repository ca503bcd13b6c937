// SPDX-License-Identifier: Apache-2.0
// What the products of a panel must pass, for each query of the block.
INLINE void FN(limits)(struct larder_topk_block8 *block, const struct larder_topk_panel8 *panel) {
    for (size_t i = 0; i < block->tile_count * QUERIES; i++) {
        double margin = larder_topk_margin(block->reach[i], block->span[i], panel);
        double limit =
            (block->floor[i] - panel->bias - margin) * (block->inverse[i] / panel->unit);
        // A place without a query has an infinite floor and no unit: that is no number, and FAR.
        limit = limit < FAR ? (limit < -FAR ? -FAR : limit) : FAR;
        // Rounded down twice over.
        limit -= (limit < 0 ? -limit : limit) * 1e-9 + 2;
        block->limits[i] = (int32_t)limit;
    }
}
