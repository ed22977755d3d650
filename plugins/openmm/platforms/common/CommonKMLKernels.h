#ifndef OPENMMKML_COMMONKMLKERNELS_H_
#define OPENMMKML_COMMONKMLKERNELS_H_

#include "GDMLDeviceTerm.h"
#include "LocalDeviceTerm.h"
#include "openmm/common/ComputeContext.h"
#include "openmmkml/internal/KMLKernels.h"
#include <memory>
#include <string>
#include <vector>

namespace OpenMMKML {

/** KMLForce on the platforms built on OpenMM's common compute layer: OpenCL, CUDA, HIP. */
class CommonCalcKMLForceKernel : public CalcKMLForceKernel {
public:
    CommonCalcKMLForceKernel(const std::string& name, const OpenMM::Platform& platform, OpenMM::ComputeContext& cc)
        : CalcKMLForceKernel(name, platform), cc(cc) {}

    /** @throws OpenMMException  if the force is unsound or the device cannot run it; nothing was registered then */
    void initialize(const OpenMM::System& system, const KMLForce& force) override;
    bool isReplaceable() const override { return true; }
    bool isSlowerThanHost() const override { return cc.getIsCPU(); }
    double execute(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy) override;
    void copyParametersToContext(OpenMM::ContextImpl& context, const KMLForce& force) override;
    std::vector<std::pair<int, int>> getBonds() const override;

private:
    class ForceInfo;
    class ReorderListener;

    /** All that depends on model and particles, replaced as a whole. */
    struct Evaluation {
        std::vector<int> particles;
        std::vector<int> elements; // atomic numbers of a model of any structure; empty: the particles are one molecule
        double constantEnergy = 0; // kJ/mol: what the terms leave out
        std::vector<std::unique_ptr<GDMLDeviceTerm>> terms;
        std::unique_ptr<LocalDeviceTerm> local;
        OpenMM::ComputeArray atoms;      // where the particles are in the device's arrays
        OpenMM::ComputeArray failure;    // 1 after an energy or force that is not finite
        std::unique_ptr<KMLForce> force; // what was prepared, for an error message
    };
    std::unique_ptr<Evaluation> prepare(const OpenMM::System& system, const KMLForce& force);
    void prepareMolecule(const kml::WeightFile& file, bool hasDerivative, Evaluation& result);
    void prepareLocal(const kml::WeightFile& file, const KMLForce& force, Evaluation& result);
    void uploadAtoms();
    void checkForFailure(OpenMM::ContextImpl& context);

    OpenMM::ComputeContext& cc;
    std::string scaleParameter;
    bool scaleDerivative = false;
    int derivativeIndex = -1;
    long long numEvaluations = 0, nextCheck = 1;
    std::unique_ptr<Evaluation> evaluation;
    ForceInfo* info = nullptr; // owned by the context
};

} // namespace OpenMMKML

#endif
