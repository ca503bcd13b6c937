// SPDX-License-Identifier: Apache-2.0
// One source, compiled for AVX-512, AVX2 with FMA and plain x86-64; the loader picks one.
// The clone "avx2" would not imply FMA, the v3 level does.
#if defined(__x86_64__) && !__has_feature(thread_sanitizer)  // TSan is not up when IFUNCs resolve
#define MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MULTIVERSION
#endif
