/** The exponential function of non-positive arguments, vectorized. */
#ifndef KML_EXP_H
#define KML_EXP_H

#include "kml/simd.h"

namespace kml {

/**
 * e[k] = exp(-t[k]) for t >= 0, K vectors at once; below 1 ulp of error.
 *
 * Above 708, where exp(-t) = 3e-308 is about to leave the normal numbers, the result is 0; NaN stays NaN.
 * K vectors are interleaved because one exponential is a chain of some 60 cycles that the processor can fill with
 * the others.
 *
 * exp(-t) = 2^n exp(r) with n = round(-t / ln 2) and |r| <= ln 2 / 2. The polynomial is
 * 1 + r + r²/2 + r³ c(r), c of degree 8 minimax in the relative error of the whole: truncation 5.9e-18.
 *
 * @param t  IN  K vectors
 * @param e  OUT K vectors
 */
template <int L, int K>
KML_INLINE void exp_minus(const Real<L>* t, Real<L>* e) {
    // Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits of the sum.
    constexpr double round = 6755399441055744.0;
    constexpr double log2_e = 1.44269504088896340736;
    constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33; // high * n is exact
    Real<L> n[K], r[K], r2[K], r4[K], a[K], b[K], c[K], d[K];
    KML_UNROLL for (int k = 0; k < K; ++k) {
        const Real<L> x = t[k] > 708.0 ? broadcast<L>(708.0) : t[k];
        n[k] = x * -log2_e + round;
        r[k] = -x;
    }
    KML_UNROLL for (int k = 0; k < K; ++k) {
        const Real<L> m = n[k] - round;
        r[k] = r[k] - m * ln2_high;
        r[k] = r[k] - m * ln2_low;
    }
    KML_UNROLL for (int k = 0; k < K; ++k) r2[k] = r[k] * r[k];
    KML_UNROLL for (int k = 0; k < K; ++k) a[k] = r[k] * 0x1.5555555555501p-3 + 0.5;
    KML_UNROLL for (int k = 0; k < K; ++k) b[k] = r[k] * 0x1.1111111128832p-7 + 0x1.555555555320dp-5;
    KML_UNROLL for (int k = 0; k < K; ++k) c[k] = r[k] * 0x1.a01a011c371d3p-13 + 0x1.6c16c17cc110ap-10;
    KML_UNROLL for (int k = 0; k < K; ++k) d[k] = r[k] * 0x1.71df55217ca3cp-19 + 0x1.a019ab3492a2ap-16;
    KML_UNROLL for (int k = 0; k < K; ++k) e[k] = r[k] * 0x1.ad20324993616p-26 + 0x1.289f82e33463dp-22;
    KML_UNROLL for (int k = 0; k < K; ++k) r4[k] = r2[k] * r2[k];
    KML_UNROLL for (int k = 0; k < K; ++k) b[k] = c[k] * r2[k] + b[k];
    KML_UNROLL for (int k = 0; k < K; ++k) d[k] = e[k] * r2[k] + d[k];
    KML_UNROLL for (int k = 0; k < K; ++k) b[k] = d[k] * r4[k] + b[k];
    KML_UNROLL for (int k = 0; k < K; ++k) a[k] = b[k] * r2[k] + a[k];
    KML_UNROLL for (int k = 0; k < K; ++k) a[k] = a[k] * r2[k] + r[k];
    KML_UNROLL for (int k = 0; k < K; ++k) {
        const Integer<L> bits = (reinterpret_cast<Integer<L>&>(n[k]) << 52) + 0x3ff0000000000000LL;
        const Real<L> power = reinterpret_cast<const Real<L>&>(bits); // 2^n
        e[k] = t[k] > 708.0 ? Real<L>{} : a[k] * power + power;
    }
}

} // namespace kml

#endif
