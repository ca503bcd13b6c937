// SPDX-License-Identifier: Apache-2.0
// Hot loops that Swift does not vectorise. Arithmetic only: no allocation, no I/O, no state.
// Every kernel has a plain twin in Tests/PredictorTests.
#ifndef LARDER_KERNELS_H
#define LARDER_KERNELS_H
#include <stddef.h>
#include <stdint.h>

// One step of negative sampling (Mikolov et al. 2013, "Distributed Representations", eq. 4).
// hidden: size; error: size, added to; outputs: rows × size, updated; targets[0] is the positive
// row, targets[1..<count] are negatives. sigmoid: 1000 values over [-6, 6), word2vec's table;
// a score outside that range changes nothing, as in word2vec and gensim.
void larder_negative_sampling(const float *hidden, float *error, float *outputs,
                              const uint32_t *targets, size_t count, size_t size, float alpha,
                              const float *sigmoid);

// sum[size] = the sum of the given rows of table (rows × size), times scale.
void larder_sum_rows(const float *table, const uint32_t *rows, size_t count, size_t size,
                     float scale, float *sum);

// Adds delta[size] to each of the given rows of table.
void larder_add_to_rows(float *table, const uint32_t *rows, size_t count, size_t size,
                        const float *delta);

// Writes to found, in ascending order, the places of scores greater than threshold; returns how
// many. found holds count entries.
size_t larder_find_above(const float *scores, size_t count, float threshold, uint32_t *found);

#endif
