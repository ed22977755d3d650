#ifndef OPENMMKML_REGISTRATION_H_
#define OPENMMKML_REGISTRATION_H_

#include "openmmkml/KMLForce.h"
#include <memory>

namespace OpenMMKML {

/** Keep a force for the deserialize() of `KMLForceHandle` that follows in this thread. */
void putForceAside(std::unique_ptr<KMLForce> force);

} // namespace OpenMMKML

#endif
