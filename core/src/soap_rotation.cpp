// The radial functions of a `soap` term rotated such that the last ones matter least, and how many of them are kept.
#include "soap_preparation.h"

#include <algorithm>
#include <cmath>

namespace kml {

std::vector<std::pair<int, int>> file_pairs(const SoapTerm& term) {
    std::vector<std::pair<int, int>> result;
    const int N = int(term.n_radial), K = N * int(term.n_channels);
    for (int k = 0; k < K; ++k)
        for (int j = 0; j <= k; ++j)
            if (!term.diagonal_radial || k % N == j % N)
                result.emplace_back(k, j);
    return result;
}

/**
 * Samples (n_intervals, N) of the radial functions of one l, as large as they can become beside all the others in one
 * environment: in units of the center's own density where that always counts.
 */
static std::vector<double> weighed_samples(const SoapTerm& term, const RadialNodes& nodes, size_t l) {
    const size_t N = nodes.n_radial;
    double own = 0;
    for (double c : term.central_radial)
        own += c * c;
    double least = own > 0 && term.normalize ? 1e300 : 0;
    for (size_t e = 0; e < term.centers.size() && least > 0; ++e) {
        double weight = 0;
        for (size_t c = 0; c < size_t(term.n_channels); ++c)
            weight += std::pow(term.central_weights[e * size_t(term.n_channels) + c], 2);
        if (term.centers[e])
            least = std::min(least, own * weight * term.angular_weights[0]);
    }
    std::vector<double> samples(nodes.n_intervals * N);
    double largest = 0;
    for (size_t k = 1; k <= nodes.n_intervals; ++k) {
        double size = 0;
        for (size_t m = 0; m < nodes.n_angular; ++m)
            for (size_t n = 0; n < N; ++n)
                size += double(2 * m + 1) * term.angular_weights[m] * std::pow(nodes.at(k, m)[n], 2);
        // Some ten neighbors may add up.
        const double weight = 10 * radial_weight(term, nodes.spacing * double(k));
        double factor = 1 / std::sqrt(size);
        if (!term.normalize)
            factor = weight, largest = std::max(largest, weight * std::sqrt(size));
        else if (least > 0 && std::isfinite(weight))
            factor = weight / std::sqrt(least + weight * weight * size);
        factor *= std::sqrt(double(2 * l + 1) * term.angular_weights[l]);
        for (size_t n = 0; n < N; ++n)
            samples[(k - 1) * N + n] = size > 0 ? factor * nodes.at(k, l)[n] : 0.0;
    }
    if (l == 0 && own > 0)
        for (double c : term.central_radial)
            samples.push_back(c / std::sqrt(own) * (term.normalize ? 1.0 : std::max(largest, 1.0)));
    if (!term.normalize && largest > 0)
        for (double& sample : samples)
            sample /= largest;
    return samples;
}

void Soap::rotate(const SoapTerm& term, SoapPurpose purpose, Preparation& work) {
    const size_t N = size_t(term.n_radial), L1 = size_t(term.n_angular), M = size_t(term.n_sparse);
    const size_t C = size_t(term.n_channels), D = size_t(term.dimension);
    work.rotation.assign(L1 * N * N, 0.0);
    work.reach.assign(L1 * N, 1.0);
    const bool rotates = purpose != SoapPurpose::descriptors && !term.diagonal_radial;
    for (size_t l = 0; l < L1; ++l) {
        double* V = work.rotation.data() + l * N * N;
        if (!rotates) {
            for (size_t n = 0; n < N; ++n)
                V[n * N + n] = 1;
            continue;
        }
        std::vector<double> samples = weighed_samples(term, work.nodes, l);
        const std::vector<double> found = order_by_size(samples, N);
        std::copy(found.begin(), found.end(), V);
        for (size_t n = 0; n < N; ++n) {
            double largest = 0;
            for (size_t k = n; k < samples.size(); k += N)
                largest = std::max(largest, std::fabs(samples[k]));
            work.reach[l * N + n] = largest;
        }
    }
    if (purpose == SoapPurpose::descriptors)
        return;
    work.points = term.sparse_points;
    const auto pairs_of = file_pairs(term);
    const double half = std::sqrt(0.5);
    std::vector<double> X(C * N * C * N), Y(N * N);
    for (size_t s = 0; s < M; ++s)
        for (size_t l = 0; l < L1; ++l) {
            double* point = work.points.data() + s * D;
            for (size_t q = 0; q < pairs_of.size(); ++q) {
                const size_t k = size_t(pairs_of[q].first), j = size_t(pairs_of[q].second);
                X[k * C * N + j] = X[j * C * N + k] = point[q * L1 + l] * (k == j ? 1.0 : half);
            }
            const double* V = work.rotation.data() + l * N * N;
            for (size_t a = 0; rotates && a < C; ++a)
                for (size_t b = 0; b <= a; ++b) { // block (a, b) becomes Vᵀ X V
                    double* block = X.data() + a * N * C * N + b * N;
                    for (size_t i = 0; i < N; ++i)
                        for (size_t n = 0; n < N; ++n) {
                            double sum = 0;
                            for (size_t j = 0; j < N; ++j)
                                sum += block[i * C * N + j] * V[j * N + n];
                            Y[i * N + n] = sum;
                        }
                    for (size_t n = 0; n < N; ++n)
                        for (size_t m = 0; m < N; ++m) {
                            double sum = 0;
                            for (size_t i = 0; i < N; ++i)
                                sum += V[i * N + n] * Y[i * N + m];
                            block[n * C * N + m] = sum;
                        }
                }
            for (size_t q = 0; q < pairs_of.size(); ++q)
                point[q * L1 + l] = X[size_t(pairs_of[q].first) * C * N + size_t(pairs_of[q].second)];
        }
}

void Soap::set_ranks(const SoapTerm& term, SoapPurpose purpose, Preparation& work) {
    const size_t N = size_t(term.n_radial), L1 = size_t(term.n_angular), M = size_t(term.n_sparse);
    const size_t D = size_t(term.dimension);
    rank.assign(L1, 0);
    for (size_t l = 0; l < L1; ++l)
        rank[l] = term.angular_weights[l] > 0 || purpose == SoapPurpose::descriptors ? int(N) : 0;
    summary.neglected = 0;
    if (purpose == SoapPurpose::descriptors || term.diagonal_radial)
        return;
    // Energy that pairs of functions n >= n' can have at most, if no entry of p is larger than reach[n] reach[n'].
    std::vector<double> energy(L1 * N, 0.0);
    double all = 0;
    const auto pairs_of = file_pairs(term);
    for (size_t s = 0; s < M; ++s) {
        double weight = purpose == SoapPurpose::rows ? 1e5 : std::fabs(term.coefficients[s]) * term.zeta;
        if (!term.sparse_offsets.empty())
            weight *= std::pow(1 + std::fabs(term.sparse_offsets[s]), std::max(0.0, term.zeta - 1));
        all += weight;
        const double* point = work.points.data() + s * D;
        for (size_t q = 0; q < pairs_of.size(); ++q)
            for (size_t l = 0; l < L1; ++l) {
                const size_t n = size_t(pairs_of[q].first) % N, m = size_t(pairs_of[q].second) % N;
                energy[l * N + std::max(n, m)] +=
                    weight * 2 * std::fabs(point[q * L1 + l]) * work.reach[l * N + n] * work.reach[l * N + m];
            }
    }
    // The estimate adds absolute values; what is neglected turns out a hundred times smaller, as much as rounding does.
    const double limit = 1e-14 * all;
    while (true) { // the function that matters least among the last ones of all l
        size_t least = L1;
        for (size_t l = 0; l < L1; ++l)
            if (rank[l] > 1 &&
                (least == L1 || energy[l * N + size_t(rank[l]) - 1] < energy[least * N + size_t(rank[least]) - 1]))
                least = l;
        if (least == L1 || summary.neglected + energy[least * N + size_t(rank[least]) - 1] > limit)
            break;
        summary.neglected += energy[least * N + size_t(rank[least]) - 1];
        --rank[least];
    }
}

} // namespace kml
