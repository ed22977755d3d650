#include "DeviceModel.h"
#include <algorithm>
#include <cmath>

using namespace OpenMMKML;
using namespace std;

namespace {

// Queries of the precision test. Errors of different queries agree within a factor of about 2.
constexpr int PRECISION_QUERIES = 3;

int entryOf(int i, int j) { return i > j ? i * (i - 1) / 2 + j : j * (j - 1) / 2 + i; }

struct KernelConstants {
    int twoNu;
    double norm;
};

KernelConstants constantsOf(kml::RadialKernel kernel) {
    switch (kernel) {
    case kml::RadialKernel::matern52:
        return {5, 3.0};
    case kml::RadialKernel::matern72:
        return {7, 15.0};
    case kml::RadialKernel::matern92:
        return {9, 105.0};
    default:
        return {0, 1.0};
    }
}

/** (G0, G1, G2) of the theory; the twin of radialFunctions() in gdml.cc. */
template <class Real>
void radialFunctions(int twoNu, Real a2, Real& g0, Real& g1, Real& g2) {
    if (twoNu == 0) {
        g0 = g1 = g2 = exp(-a2 / 2);
        return;
    }
    const Real a = sqrt(a2), e = exp(-a);
    const Real g3 = (1 + a) * e, g5 = (3 + a * (3 + a)) * e, g7 = (15 + a * (15 + a * (6 + a))) * e;
    const Real g9 = (105 + a * (105 + a * (45 + a * (10 + a)))) * e;
    g0 = twoNu == 5 ? g5 : twoNu == 7 ? g7 : g9;
    g1 = twoNu == 5 ? g3 : twoNu == 7 ? g5 : g7;
    g2 = twoNu == 5 ? e : twoNu == 7 ? g3 : g5;
}

} // namespace

DeviceModel::DeviceModel(const kml::GDMLTerm& term, int numAtoms)
    : numAtoms(numAtoms), numEntries(term.n_entries), numPermutations(term.n_permutations), numPoints(term.n_train),
      power(term.power) {
    const KernelConstants kernel = constantsOf(term.kernel);
    twoNu = kernel.twoNu;
    const double s = (twoNu == 0 ? 1.0 : sqrt(double(twoNu))) / term.length_scale;
    const size_t D = numEntries;

    pairs.reserve(2 * D * numPermutations);
    permuted.reserve(D * numPermutations);
    inverse.resize(D * numPermutations);
    for (int p = 0; p < numPermutations; p++) {
        const int32_t* permutation = &term.permutations[size_t(p) * numAtoms];
        for (int i = 1; i < numAtoms; i++)
            for (int j = 0; j < i; j++) {
                const int entry = entryOf(permutation[i], permutation[j]);
                inverse[p * D + entry] = entryOf(i, j);
                permuted.push_back(entry);
                pairs.push_back(permutation[i]);
                pairs.push_back(permutation[j]);
            }
    }

    // The mean of the training points over the group: permuting a centered query is the same as centering a permuted
    // one.
    vector<double> mean(D, 0.0), groupMean(D, 0.0);
    for (int k = 0; k < numPoints; k++)
        for (size_t d = 0; d < D; d++)
            mean[d] += term.training_descriptors[k * D + d] / numPoints;
    for (int p = 0; p < numPermutations; p++)
        for (size_t d = 0; d < D; d++)
            groupMean[d] += mean[permuted[p * D + d]] / numPermutations;

    scale.resize(D);
    offset.resize(D);
    for (size_t d = 0; d < D; d++) {
        scale[d] = s * term.descriptor_weights[d];
        offset[d] = s * groupMean[d];
    }
    points.resize(numPoints * D);
    coefficients.resize(numPoints * D);
    for (int k = 0; k < numPoints; k++)
        for (size_t d = 0; d < D; d++) {
            points[k * D + d] = s * (term.training_descriptors[k * D + d] - groupMean[d]);
            coefficients[k * D + d] = s * term.descriptor_coefficients[k * D + d] / kernel.norm;
        }
    energyCoefficients = term.energy_coefficients;
    for (double& beta : energyCoefficients)
        beta /= kernel.norm;
}

template <class Real>
double DeviceModel::evaluate(const double* query, vector<double>& sum) const {
    const size_t D = numEntries;
    const vector<Real> X(points.begin(), points.end()), U(coefficients.begin(), coefficients.end());
    vector<Real> q(D), g(D);
    Real energy = 0;
    for (int p = 0; p < numPermutations; p++) {
        for (size_t d = 0; d < D; d++)
            q[d] = Real(query[permuted[p * D + d]]);
        fill(g.begin(), g.end(), Real(0));
        for (int k = 0; k < numPoints; k++) {
            const Real *x = &X[k * D], *u = &U[k * D];
            Real a2 = 0, h = 0, g0, g1, g2;
            for (size_t d = 0; d < D; d++) {
                const Real t = q[d] - x[d];
                a2 += t * t;
                h += t * u[d];
            }
            radialFunctions(twoNu, a2, g0, g1, g2);
            const Real beta = energyCoefficients.empty() ? Real(0) : Real(energyCoefficients[k]);
            const Real w1 = g2 * h + beta * g1;
            energy += g1 * h + beta * g0;
            for (size_t d = 0; d < D; d++)
                g[d] += g1 * u[d] - w1 * (q[d] - x[d]);
        }
        for (size_t d = 0; d < D; d++)
            sum[permuted[p * D + d]] += double(g[d]);
    }
    return double(energy);
}

bool DeviceModel::needsDoublePrecision(double tolerance) const {
    const size_t D = numEntries;
    for (int k = 0; k < min(PRECISION_QUERIES, numPoints); k++) {
        // Neighbors in the list are independent samples in general. A single point is its own neighbor.
        const size_t first = size_t(k) * numPoints / PRECISION_QUERIES, second = (first + 1) % numPoints;
        vector<double> query(D), single(D, 0.0), exact(D, 0.0);
        for (size_t d = 0; d < D; d++)
            query[d] = 0.5 * (points[first * D + d] + points[second * D + d]);
        evaluate<float>(query.data(), single);
        evaluate<double>(query.data(), exact);
        double error = 0, norm = 0;
        for (size_t d = 0; d < D; d++) {
            error += (single[d] - exact[d]) * (single[d] - exact[d]);
            norm += exact[d] * exact[d];
        }
        // Written so that an error that is not a number counts as large.
        if (!(sqrt(error) <= tolerance * sqrt(norm)))
            return true;
    }
    return false;
}

double DeviceModel::typicalEnergy() const {
    vector<double> gradient(numEntries, 0.0);
    return evaluate<double>(points.data(), gradient);
}
