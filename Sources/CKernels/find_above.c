// SPDX-License-Identifier: Apache-2.0
// The scan of a score tile for survivors. Nearly all scores fail, so a block of 64 is tested
// with one reduction before any element is looked at.
#include "kernels.h"
#include "multiversion.h"

MULTIVERSION size_t larder_find_above(const float *scores, size_t count, float threshold,
                                      uint32_t *found) {
    enum { BLOCK = 64 };
    size_t n = 0, i = 0;
    for (; i + BLOCK <= count; i += BLOCK) {
        int any = 0;
        for (size_t j = 0; j < BLOCK; j++) any |= scores[i + j] > threshold;
        if (!any) continue;
        for (size_t j = 0; j < BLOCK; j++) {
            if (scores[i + j] > threshold) found[n++] = (uint32_t)(i + j);
        }
    }
    for (; i < count; i++) {
        if (scores[i] > threshold) found[n++] = (uint32_t)i;
    }
    return n;
}
