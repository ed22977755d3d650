/** Positive numbers to a fixed power, vectorized. */
#ifndef KML_POWER_H
#define KML_POWER_H

#include "kml/exp.h"

namespace kml {

/** 2^k for whole numbers -1022 <= k <= 1023. */
template <int L>
KML_INLINE Real<L> power_of_two(Real<L> k) {
    const Real<L> shifted = k + 6755399441055744.0; // leaves k in the low bits
    const Integer<L> bits = (reinterpret_cast<const Integer<L>&>(shifted) << 52) + 0x3ff0000000000000LL;
    return reinterpret_cast<const Real<L>&>(bits);
}

/**
 * Return x^p for |p| <= 500, with a relative error below (5 + 3 |p|) 1e-16. Zero where x is not positive (or below the
 * normal numbers, or no number), infinite where the result is too large.
 *
 * With x = 2^n m, 1/√2 <= m < √2, and k the whole number nearest to p n: x^p = 2^k exp((p n - k) ln 2 + p log m), so
 * that only the small arguments are rounded. log m = 2 artanh(s) with s = (m - 1)/(m + 1), by its series: |s| < 0.172,
 * and the first term left out is below 1e-18 of the sum.
 */
template <int L>
KML_INLINE Real<L> raise(Real<L> x, double p) {
    typedef unsigned long long Unsigned __attribute__((vector_size(8 * L)));
    constexpr double round = 6755399441055744.0, ln2 = 0.69314718055994530942;
    constexpr unsigned long long half_root = 0x3fe6a09e667f3bcdULL; // the bits of √½
    const Unsigned bits = (Unsigned)x;
    const Unsigned exponent = (bits - half_root + (1023ULL << 52)) >> 52; // n + 1023, positive
    const Unsigned mantissa = bits - (exponent << 52) + (1023ULL << 52);
    const Unsigned shifted = exponent | 0x4330000000000000ULL; // 2^52 + n + 1023
    const Real<L> n = (Real<L>)shifted - 4503599627371519.0;
    const Real<L> m = (Real<L>)mantissa;

    const Real<L> s = (m - 1.0) / (m + 1.0), z = s * s;
    Real<L> log = broadcast<L>(2.0 / 21);
    KML_UNROLL for (int j = 19; j >= 3; j -= 2) log = log * z + 2.0 / j;
    log = s * z * log + 2.0 * s;

    const double high = double(float(p)), low = p - high; // so that the product with n is exact
    const Real<L> product = high * n;
    const Real<L> k = (product + round) - round;
    const Real<L> rest = (product - k) + low * n;
    // exp_minus() takes arguments of one sign: `above` is more than what log2 m and the rest can bring.
    const double above = double(int(1.5 + 0.5 * (p < 0 ? -p : p)));
    Real<L> argument = (above - rest) * ln2 - p * log, e;
    exp_minus<L, 1>(&argument, &e);
    Real<L> whole = k + above;
    whole = whole > 2040.0 ? broadcast<L>(2040.0) : whole;
    whole = whole < -2040.0 ? broadcast<L>(-2040.0) : whole;
    const Real<L> half = (0.5 * whole + round) - round;
    e = e * power_of_two<L>(half) * power_of_two<L>(whole - half);
    return x >= 0x1p-1022 ? e : Real<L>{};
}

} // namespace kml

#endif
