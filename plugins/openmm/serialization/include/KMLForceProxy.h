#ifndef OPENMMKML_KMLFORCEPROXY_H_
#define OPENMMKML_KMLFORCEPROXY_H_

#include "openmm/serialization/SerializationProxy.h"
#include "openmmkml/KMLForce.h"
#include "openmmkml/internal/export.h"

namespace OpenMMKML {

/**
 * KMLForce as XML. The node carries the whole model: the weight file as base64 text with its size and SHA-256, so that
 * a serialized System needs no other file.
 */
class KMLForceProxy : public OpenMM::SerializationProxy {
public:
    KMLForceProxy();
    void serialize(const void* object, OpenMM::SerializationNode& node) const override;
    /** @throws OpenMMException  if anything in the node is missing, damaged or of another version */
    void* deserialize(const OpenMM::SerializationNode& node) const override;
};

} // namespace OpenMMKML

#endif
