#include "soap_radial.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace kml {

std::vector<long double> scaled_bessel(long double x, size_t most) {
    std::vector<long double> i(most + 1, 0.0L);
    const auto factor = [](size_t l) { return static_cast<long double>(2 * l + 1); };
    if (x < 1) { // x^l / (2l + 1)!! (1 + (x²/2)/(2l + 3) (1 + (x²/2)/(2 (2l + 5)) (…)))
        long double power = std::exp(-x);
        for (size_t l = 0; l <= most; ++l) {
            long double term = 1, sum = 1;
            for (size_t k = 1; k < 30; ++k) {
                term *= x * x / 2 / (static_cast<long double>(k) * factor(l + k));
                sum += term;
            }
            i[l] = power * sum;
            power *= x / factor(l + 1);
        }
        return i;
    }
    const long double decay = std::exp(-2 * x), zeroth = (1 - decay) / (2 * x);
    const size_t square = (most + 2) * (most + 2);
    if (x > static_cast<long double>(square)) { // upward is stable where the functions hardly fall with l
        i[0] = zeroth;
        if (most > 0)
            i[1] = ((1 + decay) - (1 - decay) / x) / (2 * x);
        for (size_t l = 1; l < most; ++l)
            i[l + 1] = i[l - 1] - factor(l) / x * i[l];
        return i;
    }
    // Downward from an order where nothing is left (Miller's algorithm).
    const size_t start = most + 30 + size_t(std::sqrt(100 * static_cast<double>(x)));
    long double above = 0, here = 1e-250L;
    for (size_t l = start; l > 0; --l) {
        const long double below = above + factor(l) / x * here;
        above = here, here = below;
        if (l - 1 <= most)
            i[l - 1] = here;
        if (here > 1e250L) { // what is already stored falls alike
            above /= 1e250L, here /= 1e250L;
            for (long double& value : i)
                value /= 1e250L;
        }
    }
    const long double scale = zeroth / i[0];
    for (long double& value : i)
        value *= scale;
    return i;
}

SplineFilter::SplineFilter(size_t n) : diagonal(n), below(3 * n) {
    static const long double band[4] = {2416, 1191, 120, 1}; // 7! times the B-spline at 0, 1, 2, 3
    for (size_t i = 0; i < n; ++i) {
        // Row i of L, from the left: L_ij = (A_ij - Σ_k L_ik D_k L_jk) / D_j.
        long double* row = below.data() + 3 * i;
        long double rest = band[0];
        for (size_t m = std::min<size_t>(3, i); m > 0; --m) {
            const size_t j = i - m;
            long double value = band[m];
            for (size_t q = m + 1; q <= std::min<size_t>(3, i); ++q)
                value -= row[q - 1] * diagonal[i - q] * below[3 * j + q - m - 1];
            row[m - 1] = value / diagonal[j];
            rest -= row[m - 1] * row[m - 1] * diagonal[j];
        }
        diagonal[i] = rest;
    }
}

void SplineFilter::solve(std::vector<long double>& values) const {
    const size_t n = diagonal.size();
    for (size_t i = 0; i < n; ++i)
        for (size_t m = 1; m <= std::min<size_t>(3, i); ++m)
            values[i] -= below[3 * i + m - 1] * values[i - m];
    for (size_t i = n; i-- > 0;) {
        values[i] /= diagonal[i];
        for (size_t m = 1; m <= 3 && i + m < n; ++m)
            values[i] -= below[3 * (i + m) + m - 1] * values[i + m];
    }
}

RadialNodes radial_nodes(const SoapTerm& term) {
    // With h = σ/20 the error of the splines is some 1e-14 of the functions, and 1e-12 of their slopes.
    RadialNodes nodes;
    nodes.n_angular = size_t(term.n_angular), nodes.n_radial = size_t(term.n_radial);
    nodes.n_intervals = size_t(std::ceil(20 * term.cutoff / term.atom_sigma));
    nodes.spacing = term.cutoff / double(nodes.n_intervals);
    const size_t L1 = nodes.n_angular, N = nodes.n_radial, A = size_t(term.n_nodes);
    nodes.values.resize((nodes.n_intervals + RadialNodes::margin + 1) * L1 * N);
    const long double alpha = 0.5L / (static_cast<long double>(term.atom_sigma) * term.atom_sigma);
    std::vector<long double> sums(L1 * N);
    for (size_t k = 0; k <= nodes.n_intervals + RadialNodes::margin; ++k) {
        const long double r = static_cast<long double>(nodes.spacing) * static_cast<long double>(k);
        std::fill(sums.begin(), sums.end(), 0.0L);
        for (size_t a = 0; a < A; ++a) { // exp(-α (r² + q²)) i_l(2 α r q)
            const long double q = term.radial_nodes[a], exponent = alpha * (r - q) * (r - q);
            if (exponent > 11000)
                continue; // smaller than the smallest number
            const std::vector<long double> bessel = scaled_bessel(2 * alpha * q * r, L1);
            const long double scale = std::exp(-exponent);
            for (size_t l = 0; l < L1; ++l)
                for (size_t n = 0; n < N; ++n)
                    sums[l * N + n] += scale * bessel[l] * term.radial_transforms[(l * A + a) * N + n];
        }
        for (size_t m = 0; m < L1 * N; ++m)
            nodes.values[k * L1 * N + m] = double(sums[m]);
    }
    return nodes;
}

std::vector<double> order_by_size(std::vector<double>& samples, size_t n) {
    const size_t rows = samples.size() / n;
    std::vector<double> a(samples.size()), v(n * n, 0.0); // columns of samples and V as rows
    for (size_t i = 0; i < rows; ++i)
        for (size_t k = 0; k < n; ++k)
            a[k * rows + i] = samples[i * n + k];
    for (size_t k = 0; k < n; ++k)
        v[k * n + k] = 1;
    const auto dot = [](const double* x, const double* y, size_t m) { return std::inner_product(x, x + m, y, 0.0); };
    const auto rotate = [](double* x, double* y, size_t m, double c, double s) {
        for (size_t i = 0; i < m; ++i) {
            const double xi = x[i], yi = y[i];
            x[i] = c * xi - s * yi;
            y[i] = s * xi + c * yi;
        }
    };
    bool rotated = true;
    for (int sweep = 0; rotated && sweep < 60; ++sweep) {
        rotated = false;
        for (size_t p = 0; p + 1 < n; ++p)
            for (size_t q = p + 1; q < n; ++q) {
                double *x = a.data() + p * rows, *y = a.data() + q * rows;
                const double xx = dot(x, x, rows), yy = dot(y, y, rows), xy = dot(x, y, rows);
                if (!(std::fabs(xy) > 1e-15 * std::sqrt(xx * yy)) || xy == 0)
                    continue;
                rotated = true;
                const double t2 = (yy - xx) / (2 * xy);
                const double t = (t2 >= 0 ? 1 : -1) / (std::fabs(t2) + std::hypot(1.0, t2));
                const double c = 1 / std::sqrt(1 + t * t), s = c * t;
                rotate(x, y, rows, c, s);
                rotate(v.data() + p * n, v.data() + q * n, n, c, s);
            }
    }
    std::vector<size_t> order(n);
    std::iota(order.begin(), order.end(), size_t(0));
    std::vector<double> size(n);
    for (size_t k = 0; k < n; ++k)
        size[k] = dot(a.data() + k * rows, a.data() + k * rows, rows);
    std::stable_sort(order.begin(), order.end(), [&](size_t p, size_t q) { return size[p] > size[q]; });
    std::vector<double> result(n * n);
    for (size_t k = 0; k < n; ++k) {
        for (size_t m = 0; m < n; ++m)
            result[m * n + k] = v[order[k] * n + m];
        for (size_t i = 0; i < rows; ++i)
            samples[i * n + k] = a[order[k] * rows + i];
    }
    return result;
}

double radial_weight(const SoapTerm& term, double r) {
    if (r >= term.cutoff)
        return 0;
    const double x = (r - (term.cutoff - term.cutoff_width)) / term.cutoff_width;
    const double cutoff = x > 0 ? 0.5 * (1 + std::cos(3.14159265358979323846 * x)) : 1.0;
    if (term.decay_exponent == 0)
        return cutoff;
    const double rate = term.decay_rate, q = std::pow(r / term.decay_scale, term.decay_exponent);
    return cutoff * (rate > 0 ? rate : 1.0) / (rate + q);
}

} // namespace kml
