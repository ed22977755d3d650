#ifndef OPENMMKML_DEVICEMODEL_H_
#define OPENMMKML_DEVICEMODEL_H_

#include "kml/weight_file.h"
#include <vector>

namespace OpenMMKML {

/** A `gdml` term as the compute kernels take it: centered, scaled, with tables for the permutations (docs/theory.md).
 */
struct DeviceModel {
    DeviceModel(const kml::GDMLTerm& term, int numAtoms);

    int numAtoms, numEntries, numPermutations, numPoints; // n, D, P, N
    int twoNu;                                            // of the Matérn kernel; 0: squared exponential
    double power;
    std::vector<double> scale, offset;      // (D,) s v and s mean: q = scale r^-p - offset
    std::vector<double> points;             // (N, D) s (x - mean)
    std::vector<double> coefficients;       // (N, D) s u / norm
    std::vector<double> energyCoefficients; // (N,) beta / norm, or empty
    std::vector<int> pairs;                 // (P, D, 2) atoms of each entry of the permuted descriptor
    std::vector<int> permuted;              // (P, D) permuted descriptor = descriptor[permuted]
    std::vector<int> inverse;               // (P, D) its inverse

    /**
     * Whether single precision would spoil dE/dq by more than a relative error (root mean square) of `tolerance`.
     * Measured half-way between training points.
     *
     * The terms of a gradient-domain sum may be many orders of magnitude larger than the sum: a model fitted with next
     * to no regularization loses all digits in single precision, and no property of its header tells so.
     */
    bool needsDoublePrecision(double tolerance) const;

    /**
     * Energy, without the offset, at the first training point, eV: a reference from which other structures' energies
     * differ little, whereas a model of forces alone may have any origin.
     */
    double typicalEnergy() const;

private:
    /** Add dE/dq of a query (D,), centered and scaled, to `sum` and return the energy. */
    template <class Real>
    double evaluate(const double* query, std::vector<double>& sum) const;
};

} // namespace OpenMMKML

#endif
