/**
 * The work on one block of training points of a `gdml` term, for a few query rows (formulas: docs/theory.md).
 *
 * Training points are packed in panels of 8, so that SIMD lanes run over training points in both matrix passes and
 * neither a constant nor a horizontal sum is left inside:
 *
 *     panels     [panel][d][x, u][8]        centered and scaled descriptors, scaled coefficients
 *     constants  [panel][|x|², x·u, β][8]
 *
 *     pass 1   g = q·x, h = q·u             lanes are results
 *     weights  a² = |q|² + |x|² - 2 g, h -= x·u:  w1 = G2 h + β G1, w2 = G1
 *     pass 2   F[d] += Σ w1 x + w2 u        lanes are summed once per block
 *
 * Query rows come in groups of `rows`; within a group everything is packed with the row innermost, so that all
 * addresses are constant offsets from one pointer: Q [d][row], W [panel][row][2][8].
 *
 * N is padded to whole panels and D to a multiple of 4 with zeros, which contribute exactly nothing.
 * The templates are compiled once for each instruction set: core/src/gdml_instructions.h.
 */
#ifndef KML_GDML_BLOCK_H
#define KML_GDML_BLOCK_H

#include "kml/exp.h"
#include "kml/instruction_set.h"
#include "kml/radial.h"
#include "kml/simd.h"

namespace kml {

/**
 * Pass 1 for R rows: W[panel][row] = (q·x, q·u).
 *
 * R rows keep 2 R accumulators in registers. S > 1 splits each into S, where few rows would leave the
 * multiply-add units waiting for the previous addition.
 */
template <int L, int R, int S>
KML_INLINE void multiply_rows(BlockShape shape, const double* panels, const double* Q, double* W) {
    for (long p = 0; p < shape.panels; ++p, panels += shape.entries * panel_stride, W += R * panel_stride)
        for (int c = 0; c < panel_points; c += L) {
            Real<L> g[S][R], h[S][R];
            KML_UNROLL for (int s = 0; s < S; ++s) KML_UNROLL for (int r = 0; r < R; ++r) g[s][r] = h[s][r] = Real<L>{};
            const double* x = panels + c;
            const double* q = Q;
            for (long d = 0; d < shape.entries; d += entry_multiple) {
                KML_UNROLL for (int k = 0; k < entry_multiple; ++k) {
                    const Real<L> xk = load<L>(x + k * panel_stride);
                    const Real<L> uk = load<L>(x + k * panel_stride + panel_points);
                    KML_UNROLL for (int r = 0; r < R; ++r) {
                        const Real<L> qk = broadcast<L>(q[k * R + r]);
                        g[k % S][r] += qk * xk;
                        h[k % S][r] += qk * uk;
                    }
                }
                x += entry_multiple * panel_stride;
                q += entry_multiple * R;
            }
            KML_UNROLL for (int r = 0; r < R; ++r) {
                KML_UNROLL for (int s = 1; s < S; ++s) {
                    g[0][r] += g[s][r];
                    h[0][r] += h[s][r];
                }
                store<L>(W + r * panel_stride + c, g[0][r]);
                store<L>(W + r * panel_stride + panel_points + c, h[0][r]);
            }
        }
}

/** The weights of K vectors of points for one query row, in place; adds to the sums over the energy and over w1. */
template <int L, int K, class Kernel, bool Energies>
KML_INLINE void weigh_points(const double* constants, double qq, double* w, long w_stride, Real<L>& energy,
                             Real<L>& sum) {
    constexpr int per_panel = panel_points / L;
    Real<L> a[K], e[K];
    KML_UNROLL for (int k = 0; k < K; ++k) {
        const long c = (k % per_panel) * L;
        const double* known = constants + (k / per_panel) * panel_constants + c;
        const Real<L> a2 = (load<L>(known) + qq) - 2.0 * load<L>(w + (k / per_panel) * w_stride + c);
        a[k] = Kernel::template exponent<L>(a2 < 0.0 ? Real<L>{} : a2); // NaN passes
    }
    exp_minus<L, K>(a, e);
    KML_UNROLL for (int k = 0; k < K; ++k) {
        const long c = (k % per_panel) * L;
        const double* known = constants + (k / per_panel) * panel_constants + c;
        double* wk = w + (k / per_panel) * w_stride + c;
        Real<L> g0, g1, g2;
        Kernel::template evaluate<L>(a[k], e[k], g0, g1, g2);
        const Real<L> h = load<L>(wk + panel_points) - load<L>(known + panel_points);
        Real<L> w1 = g2 * h;
        energy += g1 * h;
        if constexpr (Energies) {
            const Real<L> beta = load<L>(known + 2 * panel_points);
            w1 += beta * g1;
            energy += beta * g0;
        }
        sum += w1;
        store<L>(wk, w1);
        store<L>(wk + panel_points, g1);
    }
}

/** (g, h) -> (w1, w2) for one query row of a group of `rows`; sums[0] += energy, sums[1] += Σ w1. */
template <int L, class Kernel, bool Energies>
KML_INLINE void weigh_row(BlockShape shape, const double* constants, double qq, int rows, double* w, double* sums) {
    constexpr int together = L == 8 ? 4 : L == 4 ? 2 : 1; // panels: enough exponentials in flight
    const long stride = long(rows) * panel_stride;
    Real<L> energy = Real<L>{}, sum = Real<L>{};
    long p = 0;
    for (; p + together <= shape.panels; p += together)
        weigh_points<L, together * panel_points / L, Kernel, Energies>(constants + p * panel_constants, qq,
                                                                       w + p * stride, stride, energy, sum);
    for (; p < shape.panels; ++p)
        weigh_points<L, panel_points / L, Kernel, Energies>(constants + p * panel_constants, qq, w + p * stride, stride,
                                                            energy, sum);
    sums[0] += lane_sum<L>(energy);
    sums[1] += lane_sum<L>(sum);
}

/** Pass 2 for R rows and E descriptor entries: F[row][entry] += Σ_points w1 x + w2 u. */
template <int L, int R, int E>
KML_INLINE void contract_tile(BlockShape shape, const double* panels, const double* W, long w_stride, double* F) {
    constexpr int n = (R * E + L - 1) / L * L;
    Real<L> acc[n];
    KML_UNROLL for (int k = 0; k < n; ++k) acc[k] = Real<L>{};
    for (long p = 0; p < shape.panels; ++p, panels += shape.entries * panel_stride, W += w_stride) {
        KML_UNROLL for (int c = 0; c < panel_stride; c += L) {
            Real<L> w[R];
            KML_UNROLL for (int r = 0; r < R; ++r) w[r] = load<L>(W + r * panel_stride + c);
            KML_UNROLL for (int j = 0; j < E; ++j) {
                const Real<L> x = load<L>(panels + j * panel_stride + c);
                KML_UNROLL for (int r = 0; r < R; ++r) acc[r * E + j] += w[r] * x;
            }
        }
    }
    alignas(64) double totals[n];
    KML_UNROLL for (int k = 0; k < n; k += L) store<L>(totals + k, lane_sums<L>(acc + k));
    KML_UNROLL for (int r = 0; r < R; ++r) KML_UNROLL for (int j = 0; j < E; ++j) F[r * shape.entries + j] +=
        totals[r * E + j];
}

/** Pass 2 for R rows and all descriptor entries, in tiles of E that divides 4 or is 8. */
template <int L, int R, int E>
KML_INLINE void contract_rows(BlockShape shape, const double* panels, const double* W, long w_stride, double* F) {
    long d = 0;
    for (; d + E <= shape.entries; d += E)
        contract_tile<L, R, E>(shape, panels + d * panel_stride, W, w_stride, F + d);
    if constexpr (E > entry_multiple)
        if (d < shape.entries)
            contract_tile<L, R, entry_multiple>(shape, panels + d * panel_stride, W, w_stride, F + d);
}

/** Registers: 32 with AVX-512, 16 otherwise. R rows need 2 R S accumulators in pass 1 and R E in pass 2. */
template <int L>
struct Registers {
    static constexpr int pass1_rows = L == 8 ? 12 : 6;
    static constexpr int pass2_rows = L == 8 ? 6 : 3;
    static constexpr int splits(int rows) { return rows == 1 ? 4 : rows <= (L == 8 ? 4 : 3) ? 2 : 1; }
    static constexpr int entries(int rows) { return rows == 1 ? 8 : L == 8 && rows <= 3 ? 8 : 4; }
};

template <int L, int R>
KML_INLINE void multiply_case(BlockShape shape, const double* panels, const double* Q, double* W) {
    if constexpr (R <= Registers<L>::pass1_rows)
        multiply_rows<L, R, Registers<L>::splits(R)>(shape, panels, Q, W);
}

template <int L>
KML_INLINE void multiply(BlockShape shape, const double* panels, int rows, const double* Q, double* W) {
#define KML_CASE(n)                                                                                                    \
    case n:                                                                                                            \
        return multiply_case<L, n>(shape, panels, Q, W);
    switch (rows) {
        KML_CASE(1)
        KML_CASE(2)
        KML_CASE(3)
        KML_CASE(4)
        KML_CASE(5)
        KML_CASE(6)
        KML_CASE(7)
        KML_CASE(8)
        KML_CASE(9)
        KML_CASE(10)
        KML_CASE(11)
        KML_CASE(12)
    }
#undef KML_CASE
}

template <int L, int R>
KML_INLINE void contract_case(BlockShape shape, const double* panels, const double* W, long w_stride, double* F) {
    if constexpr (R <= Registers<L>::pass2_rows)
        contract_rows<L, R, Registers<L>::entries(R)>(shape, panels, W, w_stride, F);
}

template <int L>
KML_INLINE void contract(BlockShape shape, const double* panels, int rows, const double* W, double* F) {
    constexpr int most = Registers<L>::pass2_rows;
    const long w_stride = long(rows) * panel_stride;
    const int groups = (rows + most - 1) / most;
    for (int k = 0, first = 0; k < groups; ++k) {
        const int m = (rows - first + (groups - k) - 1) / (groups - k);
        const double* Wk = W + first * panel_stride;
        double* Fk = F + first * shape.entries;
#define KML_CASE(n)                                                                                                    \
    case n:                                                                                                            \
        contract_case<L, n>(shape, panels, Wk, w_stride, Fk);                                                          \
        break;
        switch (m) {
            KML_CASE(1)
            KML_CASE(2)
            KML_CASE(3)
            KML_CASE(4)
            KML_CASE(5)
            KML_CASE(6)
        }
#undef KML_CASE
        first += m;
    }
}

} // namespace kml

#endif
