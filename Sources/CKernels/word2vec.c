// SPDX-License-Identifier: Apache-2.0
// The inner loops of word2vec. Sums are reassociated on purpose, so that the last bits depend on
// the vector width: compare with a tolerance, keep no golden float bits.
#include "kernels.h"
#include "multiversion.h"

enum { TABLE = 1000, MAX_EXP = 6 };

MULTIVERSION void larder_negative_sampling(const float *restrict hidden, float *restrict error,
                                           float *restrict outputs, const uint32_t *targets,
                                           size_t count, size_t size, float alpha,
                                           const float *sigmoid) {
#pragma clang fp reassociate(on) contract(fast)
    for (size_t t = 0; t < count; t++) {
        float *row = outputs + (size_t)targets[t] * size;
        float score = 0;
        for (size_t i = 0; i < size; i++) score += hidden[i] * row[i];
        // Written so that a NaN is skipped too.
        if (!(score > -MAX_EXP && score < MAX_EXP)) continue;
        // Rounding can bring a score just below 6 to the end of the table.
        int place = (int)((score + MAX_EXP) * (TABLE / (2.0f * MAX_EXP)));
        float predicted = sigmoid[place < TABLE ? place : TABLE - 1];
        float gradient = ((t == 0 ? 1.0f : 0.0f) - predicted) * alpha;
        for (size_t i = 0; i < size; i++) error[i] += gradient * row[i];
        for (size_t i = 0; i < size; i++) row[i] += gradient * hidden[i];
    }
}

MULTIVERSION void larder_sum_rows(const float *restrict table, const uint32_t *rows, size_t count,
                                  size_t size, float scale, float *restrict sum) {
    for (size_t i = 0; i < size; i++) sum[i] = 0;
    for (size_t r = 0; r < count; r++) {
        const float *row = table + (size_t)rows[r] * size;
        for (size_t i = 0; i < size; i++) sum[i] += row[i];
    }
    for (size_t i = 0; i < size; i++) sum[i] *= scale;
}

MULTIVERSION void larder_add_to_rows(float *restrict table, const uint32_t *rows, size_t count,
                                     size_t size, const float *restrict delta) {
    for (size_t r = 0; r < count; r++) {
        float *row = table + (size_t)rows[r] * size;
        for (size_t i = 0; i < size; i++) row[i] += delta[i];
    }
}
