#ifndef OPENMMKML_DEVICEREQUEST_H_
#define OPENMMKML_DEVICEREQUEST_H_

namespace OpenMMKML {

/** One evaluation: what is wanted, and the factors that turn eV and Angstrom into OpenMM's units, scale included. */
struct DeviceRequest {
    bool includeForces;
    double forceScale, energyScale; // times the scale parameter
    double derivativeScale;         // without it
    int derivativeIndex;            // of the scale parameter among all parameters with derivatives
};

/** Fixed-point forces end at 2^31 kJ/mol/nm. */
constexpr double LARGEST_FORCE = 2147483648.0;

} // namespace OpenMMKML

#endif
