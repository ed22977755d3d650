#include "registration.h"
#include "HostKMLKernels.h"
#include "KMLForceProxy.h"
#include "openmm/OpenMMException.h"
#include "openmm/Platform.h"
#include "openmm/reference/ReferencePlatform.h"
#include "openmm/serialization/SerializationProxy.h"
#include "openmmkml/internal/export.h"

using namespace OpenMM;
using namespace OpenMMKML;
using namespace std;

namespace {

thread_local unique_ptr<KMLForce> forceAside;

/** Names the type whose proxy hands out the force that was put aside; no object of it exists. */
struct KMLForceHandle {};

class KMLForceHandleProxy : public SerializationProxy {
public:
    KMLForceHandleProxy() : SerializationProxy("KMLForceHandle") {}
    void serialize(const void*, SerializationNode&) const override {
        throw OpenMMException("KMLForce: a handle has no serialized form");
    }
    void* deserialize(const SerializationNode&) const override {
        if (!forceAside)
            throw OpenMMException("KMLForce: a handle stands for a force of this process; it cannot be read from XML");
        return forceAside.release();
    }
};

} // namespace

void OpenMMKML::putForceAside(unique_ptr<KMLForce> force) { forceAside = std::move(force); }

/** OpenMM calls these two when it loads the library. */
extern "C" KML_EXPORT void registerPlatforms() {}

extern "C" KML_EXPORT void registerKernelFactories() {
    static bool done = false;
    if (done)
        return;
    done = true;
    SerializationProxy::registerProxy(typeid(KMLForce), new KMLForceProxy());
    SerializationProxy::registerProxy(typeid(KMLForceHandle), new KMLForceHandleProxy());
    // CpuPlatform derives from ReferencePlatform, and so does its data.
    for (int i = 0; i < Platform::getNumPlatforms(); i++) {
        Platform& platform = Platform::getPlatform(i);
        if (dynamic_cast<ReferencePlatform*>(&platform) != nullptr)
            platform.registerKernelFactory(CalcKMLForceKernel::Name(), new HostKernelFactory());
    }
}
