#ifndef OPENMMKML_KMLFORCE_H_
#define OPENMMKML_KMLFORCE_H_

#include "openmm/Context.h"
#include "openmm/Force.h"
#include "openmmkml/internal/export.h"
#include <memory>
#include <string>
#include <vector>

namespace OpenMMKML {

/**
 * The energy of a kernel potential, given as the bytes of a weight file, on all particles of a System or on some.
 *
 *     E = scale * E_model(particles)
 *
 * where scale is 1, or a global parameter of the Context. Instead of the model's energy, its standard deviation can be
 * the energy of the Force: how little the model knows about a structure, for biased sampling. This class holds data
 * only; what is evaluated, and where, is decided when a Context is created.
 */
class KML_EXPORT KMLForce : public OpenMM::Force {
public:
    using Model = std::shared_ptr<const std::vector<char>>;
    /** What of the model is the energy of this Force: its energy, or the standard deviation of that. */
    enum Output { ENERGY = 0, UNCERTAINTY = 1 };

    /** @param model  the bytes of a weight file; they are checked when a Context is created, or by setOutput() */
    explicit KMLForce(std::vector<char> model);

    /** The bytes of the weight file. Copies of a Force share them. */
    const Model& getModel() const { return model; }
    /**
     * Replace the model; existing Contexts follow at updateParametersInContext().
     *
     * @throws OpenMMException  if the output is UNCERTAINTY and the model has none
     */
    void setModel(std::vector<char> bytes);

    /** Indices of the particles in the model's order of atoms; empty means all particles of the System. */
    const std::vector<int>& getParticles() const { return particles; }
    /** @throws OpenMMException  if an index is negative or appears twice */
    void setParticles(std::vector<int> indices);

    /** Atomic number of each of these particles; empty for a model of one molecule, which has its own. */
    const std::vector<int>& getNumbers() const { return numbers; }
    /** @throws OpenMMException  if a number is not one of an element */
    void setNumbers(std::vector<int> atomicNumbers);

    /** Name of the global parameter that multiplies the energy; empty when there is none. */
    const std::string& getScaleParameter() const { return scaleParameter; }
    double getScaleDefaultValue() const { return scaleDefaultValue; }
    /**
     * Multiply the energy by a global parameter.
     *
     * @param name          name of the parameter; empty removes it
     * @param defaultValue  its value in a new Context
     * @throws OpenMMException  if the value is not finite
     */
    void setScaleParameter(const std::string& name, double defaultValue = 1.0);

    /**
     * Ask for dE/dscale, which State::getEnergyParameterDerivatives() then reports.
     *
     * @throws OpenMMException  if `name` is not the scale parameter
     */
    void addEnergyParameterDerivative(const std::string& name);
    bool hasEnergyParameterDerivative() const { return scaleDerivative; }

    Output getOutput() const { return output; }
    /** @throws OpenMMException  if it is UNCERTAINTY and the model has none */
    void setOutput(Output kind);

    /** OpenMP threads of one evaluation; 0 lets the engine choose by the amount of work. */
    int getNumThreads() const { return numThreads; }
    void setNumThreads(int threads);

    bool usesPeriodicBoundaryConditions() const override { return periodic; }
    void setUsesPeriodicBoundaryConditions(bool yes) { periodic = yes; }

    /**
     * Bring model, output, particles, threads, periodicity and default of the scale parameter of an existing Context up
     * to date. The parameter's value in the Context changes only if its default was changed.
     *
     * @throws OpenMMException  if name or derivative of the scale parameter changed: those need a new Context
     */
    void updateParametersInContext(OpenMM::Context& context);

protected:
    OpenMM::ForceImpl* createImpl() const override;

private:
    Model model;
    std::vector<int> particles, numbers;
    std::string scaleParameter;
    double scaleDefaultValue = 1.0;
    bool scaleDerivative = false;
    bool periodic = false;
    int numThreads = 0;
    Output output = ENERGY;
};

} // namespace OpenMMKML

#endif
