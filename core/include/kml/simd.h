/**
 * Short vectors of doubles on the vector extensions of GCC and Clang.
 *
 * Everything is a template on the number of lanes L. Compile it for an instruction set that has such vectors (see
 * core/src/gdml_instructions.h): a vector wider than the registers still works, only slower.
 */
#ifndef KML_SIMD_H
#define KML_SIMD_H

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define KML_INLINE inline __attribute__((always_inline))
#define KML_UNROLL _Pragma("GCC unroll 32")

namespace kml {

template <int L>
struct Lanes;
#define KML_LANES(n)                                                                                                   \
    template <>                                                                                                        \
    struct Lanes<n> {                                                                                                  \
        typedef double Real __attribute__((vector_size(8 * n), may_alias));                                            \
        typedef double Unaligned __attribute__((vector_size(8 * n), may_alias, aligned(8)));                           \
        typedef long long Integer __attribute__((vector_size(8 * n), may_alias));                                      \
    };
KML_LANES(2)
KML_LANES(4)
KML_LANES(8)
#undef KML_LANES

template <int L>
using Real = typename Lanes<L>::Real;
template <int L>
using Integer = typename Lanes<L>::Integer;

/** Aligned load and store: `p` is a multiple of the vector's size. */
template <int L>
KML_INLINE Real<L> load(const double* p) {
    return *reinterpret_cast<const Real<L>*>(p);
}
template <int L>
KML_INLINE void store(double* p, Real<L> v) {
    *reinterpret_cast<Real<L>*>(p) = v;
}

/** Load from any address. */
template <int L>
KML_INLINE Real<L> load_unaligned(const double* p) {
    return *reinterpret_cast<const typename Lanes<L>::Unaligned*>(p);
}

/** x in all lanes. (`x - 0` folds into a broadcast; `x + 0` is a real addition, because -0.0 + 0.0 = +0.0.) */
template <int L>
KML_INLINE Real<L> broadcast(double x) {
    return x - Real<L>{};
}

/** Square root of each lane, in one instruction. */
template <int L>
KML_INLINE Real<L> square_root(Real<L> x) {
#if defined(__x86_64__)
    if constexpr (L == 8)
        return _mm512_sqrt_pd(x);
    else if constexpr (L == 4)
        return _mm256_sqrt_pd(x);
    else
        return _mm_sqrt_pd(x);
#else
    Real<L> y;
    KML_UNROLL for (int l = 0; l < L; ++l) y[l] = __builtin_sqrt(x[l]);
    return y;
#endif
}

/** Sum over the lanes, in pairs. */
template <int L>
KML_INLINE double lane_sum(Real<L> v) {
    double s[L];
    for (int l = 0; l < L; ++l)
        s[l] = v[l];
    for (int n = L / 2; n; n /= 2)
        for (int l = 0; l < n; ++l)
            s[l] += s[l + n];
    return s[0];
}

/** The lanes `at...` of a and b, counted through both. (GCC has Clang's way of saying it from version 12 on only.) */
template <int L, int... at>
KML_INLINE Real<L> shuffle(Real<L> a, Real<L> b) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, at...);
#else
    return __builtin_shuffle(a, b, Integer<L>{at...});
#endif
}

/** Lane l of the result is the sum over the lanes of v[l]: L sums for some 3 L instructions. */
template <int L>
KML_INLINE Real<L> lane_sums(const Real<L>* v) {
    if constexpr (L == 2) {
        return shuffle<2, 0, 2>(v[0], v[1]) + shuffle<2, 1, 3>(v[0], v[1]);
    } else if constexpr (L == 4) {
        Real<4> s[2];
        for (int k = 0; k < 2; ++k) {
            const Real<4> a = v[2 * k], b = v[2 * k + 1];
            s[k] = shuffle<4, 0, 4, 2, 6>(a, b) + shuffle<4, 1, 5, 3, 7>(a, b);
        }
        return shuffle<4, 0, 1, 4, 5>(s[0], s[1]) + shuffle<4, 2, 3, 6, 7>(s[0], s[1]);
    } else {
        Real<8> s[4], t[2];
        for (int k = 0; k < 4; ++k) {
            const Real<8> a = v[2 * k], b = v[2 * k + 1];
            s[k] = shuffle<8, 0, 8, 2, 10, 4, 12, 6, 14>(a, b) + shuffle<8, 1, 9, 3, 11, 5, 13, 7, 15>(a, b);
        }
        for (int k = 0; k < 2; ++k) {
            const Real<8> a = s[2 * k], b = s[2 * k + 1];
            t[k] = shuffle<8, 0, 1, 8, 9, 4, 5, 12, 13>(a, b) + shuffle<8, 2, 3, 10, 11, 6, 7, 14, 15>(a, b);
        }
        return shuffle<8, 0, 1, 2, 3, 8, 9, 10, 11>(t[0], t[1]) + shuffle<8, 4, 5, 6, 7, 12, 13, 14, 15>(t[0], t[1]);
    }
}

/** Exchange lanes and vectors: v[a][b] becomes v[b][a]. */
template <int L>
KML_INLINE void transpose(Real<L>* v) {
    if constexpr (L == 2) {
        const Real<2> a = v[0], b = v[1];
        v[0] = shuffle<2, 0, 2>(a, b);
        v[1] = shuffle<2, 1, 3>(a, b);
    } else if constexpr (L == 4) {
        Real<4> s[4];
        for (int k = 0; k < 4; k += 2) {
            s[k] = shuffle<4, 0, 4, 2, 6>(v[k], v[k + 1]);
            s[k + 1] = shuffle<4, 1, 5, 3, 7>(v[k], v[k + 1]);
        }
        for (int k = 0; k < 2; ++k) {
            v[k] = shuffle<4, 0, 1, 4, 5>(s[k], s[k + 2]);
            v[k + 2] = shuffle<4, 2, 3, 6, 7>(s[k], s[k + 2]);
        }
    } else {
        Real<8> s[8], t[8];
        KML_UNROLL for (int k = 0; k < 8; k += 2) {
            s[k] = shuffle<8, 0, 8, 2, 10, 4, 12, 6, 14>(v[k], v[k + 1]);
            s[k + 1] = shuffle<8, 1, 9, 3, 11, 5, 13, 7, 15>(v[k], v[k + 1]);
        }
        KML_UNROLL for (int k = 0; k < 8; k += 4) KML_UNROLL for (int m = 0; m < 2; ++m) {
            t[k + m] = shuffle<8, 0, 1, 8, 9, 4, 5, 12, 13>(s[k + m], s[k + m + 2]);
            t[k + m + 2] = shuffle<8, 2, 3, 10, 11, 6, 7, 14, 15>(s[k + m], s[k + m + 2]);
        }
        KML_UNROLL for (int k = 0; k < 4; ++k) {
            v[k] = shuffle<8, 0, 1, 2, 3, 8, 9, 10, 11>(t[k], t[k + 4]);
            v[k + 4] = shuffle<8, 4, 5, 6, 7, 12, 13, 14, 15>(t[k], t[k + 4]);
        }
    }
}

} // namespace kml

#endif
