// SPDX-License-Identifier: Apache-2.0
#include "level.h"
#include "layers.h"
#include "topk.h"
#include "topk8.h"
#include "transformer.h"
#include "word2vec.h"

const struct kernels FN(kernels) = {
    .kth = FN(kth),
    .score = FN(score),
    .pack = FN(pack),
    .scan = FN(scan),
    .scan8 = FN(scan8),
    .word2vec = FN(word2vec),
    .draw = FN(draw),
    .optimise = FN(optimise),
    .embed = FN(embed),
    .update_rows = FN(update_rows),
    .row_squares = FN(row_squares),
    .squares = FN(squares),
    .gather_sums = FN(gather_sums),
    .add_bias = FN(add_bias),
    .rectify_back = FN(rectify_back),
    .column_sums = FN(column_sums),
    .add_pairs = FN(add_pairs),
    .softmax = FN(softmax),
    .binary_cross_entropy = FN(binary_cross_entropy),
    .dropout = FN(dropout),
    .gelu = FN(gelu),
    .gelu_back = FN(gelu_back),
    .norm = FN(norm),
    .norm_back = FN(norm_back),
    .attend = FN(attend),
    .attend_back = FN(attend_back),
};
