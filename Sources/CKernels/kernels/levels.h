// SPDX-License-Identifier: Apache-2.0
// What the kernels have in common, and the table of them of each instruction set.
#ifndef LARDER_LEVELS_H
#define LARDER_LEVELS_H
#include "kernels.h"

enum {
    PANEL = LARDER_TOPK_PANEL,
    QUERIES = LARDER_TOPK_QUERIES,
    // Products of codes stay below, up to a depth of 16,384: that many times 255 × 127.
    FAR = 1 << 29,
};

// Adds those of 64 scores whose bit is set.
void larder_topk_keep(struct larder_topk_list *list, const float *scores, uint64_t survivors,
                      const int32_t *rows);
void larder_topk_keep8(struct larder_topk_block8 *block, size_t place, const int32_t *products,
                       uint64_t survivors, const struct larder_topk_panel8 *bounds,
                       const int32_t *rows);
// How far the product of the codes can be from the computed score, less the bias:
// |q·v − uq·uv·(q̂·v̂)| ≤ |δq|·|v| + |uq·q̂|·|δv|, and rounding; a little wider than that.
static inline double larder_topk_margin(double reach, double span,
                                        const struct larder_topk_panel8 *panel) {
    return (reach * panel->norm + span * panel->residue) * (1 + 1e-6) + 1e-37;
}
int larder_topk_excludes(const struct larder_topk_list *list, int32_t row);

struct kernels {
    __typeof__(larder_topk_kth) *kth;
    __typeof__(larder_topk_score) *score;
    __typeof__(larder_topk_pack) *pack;
    __typeof__(larder_topk_scan) *scan;
    __typeof__(larder_topk_scan8) *scan8;
    __typeof__(larder_word2vec) *word2vec;
    __typeof__(larder_draw) *draw;
    __typeof__(larder_optimise) *optimise;
    __typeof__(larder_embed) *embed;
    __typeof__(larder_update_rows) *update_rows;
    __typeof__(larder_row_squares) *row_squares;
    __typeof__(larder_squares) *squares;
    __typeof__(larder_gather_sums) *gather_sums;
    __typeof__(larder_add_bias) *add_bias;
    __typeof__(larder_rectify_back) *rectify_back;
    __typeof__(larder_column_sums) *column_sums;
    __typeof__(larder_add_pairs) *add_pairs;
    __typeof__(larder_softmax) *softmax;
    __typeof__(larder_binary_cross_entropy) *binary_cross_entropy;
    __typeof__(larder_dropout) *dropout;
    __typeof__(larder_gelu) *gelu;
    __typeof__(larder_gelu_back) *gelu_back;
    __typeof__(larder_norm) *norm;
    __typeof__(larder_norm_back) *norm_back;
    __typeof__(larder_attend) *attend;
    __typeof__(larder_attend_back) *attend_back;
};

extern const struct kernels kernels_v4, kernels_v3, kernels_baseline;
// The one kernel that wants more than v4.
__typeof__(larder_topk_scan8) larder_topk_scan8_vnni;

#endif
