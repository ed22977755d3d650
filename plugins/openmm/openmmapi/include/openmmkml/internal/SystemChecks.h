#ifndef OPENMMKML_SYSTEMCHECKS_H_
#define OPENMMKML_SYSTEMCHECKS_H_

#include "openmm/System.h"
#include "openmmkml/KMLForce.h"

namespace OpenMMKML {

/**
 * Refuse a System in which the model would be evaluated on something other than freely moving atoms.
 *
 * openmm_kml/interfaces/checks.py says the same from Python, also for forces inside of a CustomCVForce, which cannot
 * see the System around it.
 *
 * @throws OpenMMException  if a constraint or a virtual site lies among the model's particles, if the scale parameter
 *                          is also one of a force of another kind, or if a barostat changes a box on which no energy
 *                          depends
 */
void checkSystem(const OpenMM::System& system, const KMLForce& force);

} // namespace OpenMMKML

#endif
