// SPDX-License-Identifier: Apache-2.0
// Hot loops that Swift does not vectorise. Arithmetic only: no allocation, no I/O. Each is
// compiled for AVX-512, AVX2 and plain x86-64 or NEON, and the best that runs here is picked.
// Every kernel has a plain twin in Tests/PredictorTests.
#ifndef LARDER_KERNELS_H
#define LARDER_KERNELS_H
#include <stddef.h>
#include <stdint.h>

// The instruction set in use: v4 (AVX-512), v3 (AVX2 with FMA) or baseline. LARDER_CPU=v3 or
// LARDER_CPU=baseline in the environment asks for a lower one.
const char *larder_cpu_level(void);

// MARK: exact top-k

// Items of a panel, and queries of a tile.
#define LARDER_TOPK_PANEL 64
#define LARDER_TOPK_QUERIES 6

// A score is bias + q₀v₀ + q₁v₁ + …, from left to right, each step rounded once (fused
// multiply-add): the same bits on every processor, in every pass.
struct larder_topk_items {
    // rows × depth.
    const float *values;
    size_t depth;
    // What the scores of each row start from, or null.
    const float *bias;
};

// The best items of one query so far.
struct larder_topk_list {
    // Capacity of each, at least 2k and more than k; equal scores are in the order of their rows.
    float *scores;
    int32_t *rows;
    uint32_t count, capacity, k;
    // What is not above it cannot enter: rows come in ascending order, and later ones lose ties.
    float threshold;
    // Rows that must not enter, ascending.
    const int32_t *excluded;
    size_t excluded_count;
};

// The k-th greatest of count values, 0 < k <= count.
float larder_topk_kth(const float *values, size_t count, size_t k);

// Starts a list with what earlier items left, at most k, in order.
void larder_topk_begin(struct larder_topk_list *list, const float *scores, const int32_t *rows,
                       size_t count);

// Writes the k best, or fewer, in order; returns how many.
size_t larder_topk_end(struct larder_topk_list *list, float *scores, int32_t *rows);

// The scores of one query (depth floats) and some rows.
void larder_topk_score(const float *query, const struct larder_topk_items *items,
                       const int32_t *rows, size_t count, float *scores);

// Tiles of depth × 6 queries; those beyond count are zeros.
void larder_topk_pack_queries(const float *queries, size_t count, size_t depth, float *tiles);

// One panel of at most 64 items: depth + 1 lines of 64 floats, the first of them the bias (minus
// infinity beyond count), then line p with number p of each item.
void larder_topk_pack(const struct larder_topk_items *items, const int32_t *rows, size_t count,
                      float *panel);

// Offers all items of the panels to all queries of the tiles, six lists a tile; those without
// a query have an infinite threshold. rows: 64 × panel_count, ascending, also from call to call.
void larder_topk_scan(const float *tiles, size_t tile_count, const float *panels,
                      size_t panel_count, size_t depth, const int32_t *rows,
                      struct larder_topk_list *lists);

// MARK: exact top-k with a first pass in 8 bits

// Whether this processor multiplies bytes fast enough for it to pay (AVX-512 VNNI).
int larder_topk_prefers8(void);

// What the codes of a panel leave open: no item is longer than norm, or further than residue
// from unit × its codes, or has a greater bias.
struct larder_topk_panel8 {
    double unit, norm, residue, bias;
};

// Rows whose scores are known to be between two numbers.
struct larder_topk_list8 {
    // Where the scores of some are found out.
    struct larder_topk_list exact;
    // exact.capacity of each.
    float *lower, *upper;
    int32_t *rows;
    // At `next` entries it is time to see which of them can go.
    uint32_t count, next;
    // How many entries had to be scored before the end: many, where the bounds are too loose.
    size_t rescored;
};

// Six queries a tile, those without a list have an infinite floor.
struct larder_topk_block8 {
    size_t tile_count;
    const struct larder_topk_items *items;
    // rows × depth, and tiles of depth / 4 (rounded up) × 6 × 4 codes, 128 too high.
    const float *queries;
    uint8_t *codes;
    // Of each query: the value of a code, and one over it; how much the bounds widen with an
    // item's norm and with its residue; what an upper bound must pass; and, of the panel in hand,
    // what a product must pass.
    double *unit, *inverse, *reach, *span, *floor;
    int32_t *limits;
    struct larder_topk_list8 *lists;
};

// A panel in 8 bits: 64 sums, then depth / 4 (rounded up) × 64 × 4 codes.
size_t larder_topk_panel8_size(size_t depth);
void larder_topk_pack8(const struct larder_topk_items *items, const int32_t *rows, size_t count,
                       void *panel, struct larder_topk_panel8 *bounds);

// Fills the place of query number `place` in the block.
void larder_topk_pack_query8(struct larder_topk_block8 *block, size_t place);
void larder_topk_begin8(struct larder_topk_block8 *block, size_t place, const float *scores,
                        const int32_t *rows, size_t count);
size_t larder_topk_end8(struct larder_topk_block8 *block, size_t place, float *scores,
                        int32_t *rows);

// As larder_topk_scan.
void larder_topk_scan8(struct larder_topk_block8 *block, const void *panels,
                       const struct larder_topk_panel8 *bounds, size_t panel_count,
                       const int32_t *rows);

// MARK: word2vec

// Floats that a row is padded to, and the most negatives.
#define LARDER_WORD2VEC_PADDING 16
#define LARDER_WORD2VEC_NEGATIVES 100

// Negative sampling (Mikolov et al. 2013, "Distributed Representations", eq. 4) through a part
// of a sentence: CBOW with the mean of the window, or skip-gram.
struct larder_word2vec {
    // rows × stride each, on cache lines, zeros beyond a vector's size.
    float *input, *output;
    size_t stride;
    // The sentence, of which the words first..<last are predicted, and how far each window goes.
    const uint32_t *words, *reach;
    size_t count, first, last;
    // `negative` rows for each step: a word with a window in CBOW, a pair in skip-gram. Those of
    // two steps more are read, to be fetched early.
    const uint32_t *negatives;
    size_t negative;
    float alpha;
    int skip_gram;
    // 2 × stride.
    float *scratch;
};

// A score outside ±6 changes nothing, as in word2vec and gensim.
void larder_word2vec(const struct larder_word2vec *windows);

// Draws n numbers below count from an alias table; state is of SplitMix64.
void larder_draw(const float *threshold, const uint32_t *alias, size_t count, uint64_t *state,
                 uint32_t *drawn, size_t n);

// MARK: layers

// How values follow their gradients. Each value has `slots` numbers beside it, those of a row one
// after the other: none for SGD; the sum of squares for Adagrad (Duchi et al. 2011, Keras' form);
// both moments for AdamW (Loshchilov and Hutter 2019).
enum larder_optimiser_kind { LARDER_SGD, LARDER_ADAGRAD, LARDER_ADAMW };
struct larder_optimiser {
    enum larder_optimiser_kind kind;
    float rate, epsilon, beta1, beta2, decay;
    // AdamW: one over 1 - beta1 ^ step, and over 1 - beta2 ^ step.
    float unbias1, unbias2;
    // What gradients are multiplied with first: less than one where they are clipped.
    float scale;
};

void larder_optimise(const struct larder_optimiser *optimiser, float *values, float *state,
                     const float *gradient, size_t count);

// Rows of a table as they are used in a batch: entry e, one of a list of entries, is a use of a
// row by `owner[e]`, a row of the batch, with a weight (null: one). The entries of a table's row
// are those from first[row] on, each with the one behind it in `next`, to -1.
struct larder_uses {
    const int32_t *first, *next, *owner;
    const float *weight;
    // Rows that are used, each once.
    const int32_t *rows;
};

// to[owner] += weight × table[row] for the entries of each owner: `offsets`, owners + 1 of them,
// say which (null: entry e is owner e's), `codes` the row of each. to: owners first..<last, `stride`
// apart; they are overwritten.
void larder_embed(const float *table, size_t width, const int32_t *codes, const int32_t *offsets,
                  const float *weight, float *to, size_t stride, size_t first, size_t last);

// The rows' gradients, sums over their uses of weight × gradient[owner], move the rows
// uses->rows[first..<last] of the table. scratch: width floats.
void larder_update_rows(const struct larder_optimiser *optimiser, const struct larder_uses *uses,
                        size_t first, size_t last, const float *gradient, size_t stride,
                        size_t width, float *table, float *state, float *scratch);

// The sum of their squares.
double larder_row_squares(const struct larder_uses *uses, size_t first, size_t last,
                          const float *gradient, size_t stride, size_t width, float *scratch);
double larder_squares(const float *values, size_t count);

// to[r] = the sum over the uses of row r, of first..<last, of from[owner].
void larder_gather_sums(const struct larder_uses *uses, size_t first, size_t last,
                        const float *from, size_t width, float *to);

// y = max(0, x + bias), or x + bias; rows × columns, in place.
void larder_add_bias(float *x, const float *bias, size_t rows, size_t columns, int rectifies);
// gradient = y > 0 ? gradient : 0.
void larder_rectify_back(float *gradient, const float *y, size_t count);
// sums[first..<last] of the columns.
void larder_column_sums(const float *x, size_t rows, size_t columns, size_t first, size_t last,
                        float *sums);
// to[r] = max(0, a[at_a[r]] + b[at_b[r]]).
void larder_add_pairs(const float *a, const int32_t *at_a, const float *b, const int32_t *at_b,
                      size_t rows, size_t columns, float *to);

// Logits that become their gradient.
struct larder_softmax {
    // rows × columns, `stride` apart.
    float *logits;
    size_t rows, columns, stride;
    // Added to the logits of each column.
    const float *bias;
    // The column that is right for each row, and what is added there instead.
    const int32_t *target;
    const float *target_bias;
    // What gradients are multiplied with.
    float scale;
    // Of each row: log of the sum of eˡᵒᵍⁱᵗ, less the target's logit.
    float *loss;
};
void larder_softmax(const struct larder_softmax *softmax);

// Binary cross entropy of logits: gradient = (sigmoid(logit) - label) × scale; returns the sum of
// the losses.
double larder_binary_cross_entropy(const float *logits, const float *labels, size_t count,
                                   float scale, float *gradient);

// MARK: transformers

// Places that a step closes: those whose hash, of seed and number, is below `closed`; 0: none.
// What is left is multiplied with `scale`.
struct larder_dropout {
    uint32_t seed, closed;
    float scale;
    // The number of the first row, so that parts of a batch close what the whole would.
    size_t first;
};
void larder_dropout(const struct larder_dropout *dropout, float *x, size_t rows, size_t columns);

// x += bias; y = dropout(x · Φ(x)): GELU (Hendrycks and Gimpel 2016), to 1 in 10⁶.
void larder_gelu(float *x, const float *bias, float *y, size_t rows, size_t columns,
                 const struct larder_dropout *dropout);
// gradient = gradient, where it is open, times the slope at x.
void larder_gelu_back(float *gradient, const float *x, size_t rows, size_t columns,
                      const struct larder_dropout *dropout);

// Layer norm (Ba et al. 2016).
struct larder_norm {
    size_t columns;
    float epsilon;
    const float *gain, *shift;
    // rows × columns: what is multiplied with the gain; of each row one over its deviation.
    float *direction, *inverse;
};
// y = norm(x + dropout(a + bias)); bias: null for none.
void larder_norm(const struct larder_norm *norm, float *a, const float *bias, const float *x,
                 float *y, size_t rows, const struct larder_dropout *dropout);
// dz: the gradient of what is normed; those of gain and shift are added up.
void larder_norm_back(const struct larder_norm *norm, const float *gradient, float *dz,
                      float *dgain, float *dshift, size_t rows);

// Attention of sequences that lie one behind the other, with relative positions as in Transformer-XL
// (Dai et al. 2019): out = Σ softmax(scale · ((q + content_bias) · k + (q + position_bias) · r)) v,
// r that of the distance. A sequence may have fewer queries than keys.
struct larder_attention {
    // Rows of queries, keys and values; a head has `size` columns of each.
    const float *q, *k, *v;
    size_t q_stride, kv_stride;
    size_t heads, size;
    // Of the distances reach - 1 down to 1 - reach, of query from key: a row each, and turned, a
    // column each, `position_stride` apart, with zeros for a register behind.
    const float *position_rows, *positions_turned;
    // heads × position_stride: (position_bias - content_bias) · r of each.
    const float *position_offsets;
    size_t position_stride, reach;
    const float *content_bias, *position_bias;
    // sequences + 1 entries; no sequence has more than `reach` keys.
    const int32_t *key_offsets, *query_offsets;
    // Where each query stands in its sequence.
    const int32_t *positions;
    // Whether a query sees no key behind its own place.
    int is_causal;
    float scale;
    struct larder_dropout dropout;
    float *out;
    size_t out_stride;
    // queries × heads: kept for the way back; null where there is none.
    float *log_sum;
};
struct larder_attention_gradient {
    // As in the attention. `out` is given; q is written; all others are added up.
    const float *out;
    float *q, *k, *v, *positions, *content_bias, *position_bias;
};
// Floats of scratch of either.
size_t larder_attention_scratch(size_t reach, size_t size);
void larder_attend(const struct larder_attention *attention, size_t first, size_t last,
                   float *scratch);
void larder_attend_back(const struct larder_attention *attention,
                        const struct larder_attention_gradient *gradient, size_t first,
                        size_t last, float *scratch);

#endif
