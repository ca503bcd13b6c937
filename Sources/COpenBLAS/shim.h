#include <cblas.h>

// LAPACK, which OpenBLAS holds too: solves A·X = B for a symmetric positive definite A, of which
// one half is read and becomes its Cholesky factor; info > 0: A is not positive definite.
void sposv_(const char *half, const int *n, const int *columns, float *a, const int *lda, float *b,
            const int *ldb, int *info);
