// SPDX-License-Identifier: Apache-2.0
// What the kernels of one instruction set are compiled with. Each level_*.c sets LEVEL, LANES
// (floats of a register) and its target, and includes this and the kernels.
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define FN(name) JOIN(name, LEVEL)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")
// Fewer turns of a loop whose end the processor would guess wrong.
#define UNROLL_BY_4 _Pragma("clang loop unroll_count(4)")

typedef float FN(floats) __attribute__((ext_vector_type(LANES)));
typedef float FN(loose) __attribute__((ext_vector_type(LANES), aligned(4)));
#define floats FN(floats)

INLINE floats FN(load)(const float *from) { return *(const FN(loose) *)from; }
INLINE void FN(store)(float *to, floats value) { *(FN(loose) *)to = value; }
INLINE floats FN(splat)(float value) { return (floats)(value); }
// The sum of the lanes, in pairs.
INLINE float FN(sum)(floats value) {
#if LANES == 16
    __auto_type eight = value.lo + value.hi;
    __auto_type four = eight.lo + eight.hi;
#elif LANES == 8
    __auto_type four = value.lo + value.hi;
#else
    __auto_type four = value;
#endif
    __auto_type two = four.lo + four.hi;
    return two.lo + two.hi;
}
INLINE floats FN(max)(floats a, floats b) { return a > b ? a : b; }
// The greatest of the lanes.
INLINE float FN(most)(floats value) {
#define GREATER(a, b) ((a) > (b) ? (a) : (b))
#if LANES == 16
    __auto_type eight = GREATER(value.lo, value.hi);
    __auto_type four = GREATER(eight.lo, eight.hi);
#elif LANES == 8
    __auto_type four = GREATER(value.lo, value.hi);
#else
    __auto_type four = value;
#endif
    __auto_type two = GREATER(four.lo, four.hi);
    return GREATER(two.lo, two.hi);
#undef GREATER
}

// a · b + c, rounded once: with it, a score has the same bits at every level.
#if EMULATES_FMA
INLINE float FN(fma_one)(float a, float b, float c) {
    // The product of two floats is exact as a double. Where its sum with c is not, it is rounded
    // to odd, and the second rounding, to float, is then right (Boldo and Melquiond 2008).
    double product = (double)a * b, sum = product + c;
    double part = sum - product;
    double error = (product - (sum - part)) + (c - part);
    union { double value; uint64_t bits; } odd = {sum};
    if ((error > 0 || error < 0) && !(odd.bits & 1)) {
        odd.bits += (error > 0) == (sum > 0) ? 1 : -1;
    }
    return (float)odd.value;
}
INLINE floats FN(fma)(floats a, floats b, floats c) {
    floats result;
    for (int i = 0; i < LANES; i++) result[i] = FN(fma_one)(a[i], b[i], c[i]);
    return result;
}
#else
INLINE float FN(fma_one)(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
INLINE floats FN(fma)(floats a, floats b, floats c) { return __builtin_elementwise_fma(a, b, c); }
#endif

// Which lanes of a are greater than those of b, the first lane in the lowest bit.
INLINE uint32_t FN(above)(floats a, floats b) {
#if defined(__x86_64__) && LANES == 16
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ);
#elif defined(__x86_64__) && LANES == 8
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_GT_OQ));
#elif defined(__x86_64__)
    return (uint32_t)_mm_movemask_ps(_mm_cmpgt_ps((__m128)a, (__m128)b));
#else
    uint32_t mask = 0;
    for (int i = 0; i < LANES; i++) mask |= (uint32_t)(a[i] > b[i]) << i;
    return mask;
#endif
}
