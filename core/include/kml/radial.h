/**
 * Radial kernels as the three functions (G0, G1, G2) of docs/theory.md.
 *
 * G0 is the kernel times its numerator constant `norm`; dG0/d(a²) = -G1/2 and dG1/d(a²) = -G2/2, where a is the
 * scaled distance. A kernel is exp(-t) times polynomials in a: `exponent` gives t from a² (and a), `evaluate` the
 * functions from a and e = exp(-t).
 */
#ifndef KML_RADIAL_H
#define KML_RADIAL_H

#include "kml/simd.h"

namespace kml {

enum class RadialKernel { matern52, matern72, matern92, squared_exponential };

/** Matérn kernels: t = a = √(2ν) |q - x| / ℓ. */
struct Matern52 {
    static constexpr double norm = 3.0, two_nu = 5.0;
    template <int L>
    static KML_INLINE Real<L> exponent(Real<L> a2) {
        return square_root<L>(a2);
    }
    template <int L>
    static KML_INLINE void evaluate(Real<L> a, Real<L> e, Real<L>& g0, Real<L>& g1, Real<L>& g2) {
        g2 = e;
        g1 = a * e + e;
        g0 = ((a + 3.0) * a + 3.0) * e;
    }
};

struct Matern72 {
    static constexpr double norm = 15.0, two_nu = 7.0;
    template <int L>
    static KML_INLINE Real<L> exponent(Real<L> a2) {
        return square_root<L>(a2);
    }
    template <int L>
    static KML_INLINE void evaluate(Real<L> a, Real<L> e, Real<L>& g0, Real<L>& g1, Real<L>& g2) {
        g2 = a * e + e;
        g1 = ((a + 3.0) * a + 3.0) * e;
        g0 = (((a + 6.0) * a + 15.0) * a + 15.0) * e;
    }
};

struct Matern92 {
    static constexpr double norm = 105.0, two_nu = 9.0;
    template <int L>
    static KML_INLINE Real<L> exponent(Real<L> a2) {
        return square_root<L>(a2);
    }
    template <int L>
    static KML_INLINE void evaluate(Real<L> a, Real<L> e, Real<L>& g0, Real<L>& g1, Real<L>& g2) {
        g2 = ((a + 3.0) * a + 3.0) * e;
        g1 = (((a + 6.0) * a + 15.0) * a + 15.0) * e;
        g0 = ((((a + 10.0) * a + 45.0) * a + 105.0) * a + 105.0) * e;
    }
};

/** t = a²/2 with a = |q - x| / ℓ; the three functions are the same. */
struct SquaredExponential {
    static constexpr double norm = 1.0, two_nu = 1.0;
    template <int L>
    static KML_INLINE Real<L> exponent(Real<L> a2) {
        return 0.5 * a2;
    }
    template <int L>
    static KML_INLINE void evaluate(Real<L>, Real<L> e, Real<L>& g0, Real<L>& g1, Real<L>& g2) {
        g0 = g1 = g2 = e;
    }
};

} // namespace kml

#endif
