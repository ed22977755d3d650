#ifndef OPENMMKML_ENGINE_H_
#define OPENMMKML_ENGINE_H_

#include "kml/engine_api.h"
#include "openmm/Vec3.h"
#include "openmm/internal/ContextImpl.h"
#include "openmmkml/KMLForce.h"
#include <memory>
#include <string>
#include <vector>

namespace OpenMMKML {

/** kJ/mol in one eV: the Avogadro constant times the elementary charge, both exact since the SI of 2019. */
constexpr double KJ_PER_MOL_IN_EV = 96.48533212331;
constexpr double ANGSTROM_IN_NM = 10.0;

/** Make `table` the engine of this process. @throws OpenMMException  if its version is another than expected */
void setEngine(const kml_engine_api* table);

/** The engine of this process. @throws OpenMMException  if none was set */
const kml_engine_api& getEngine();

/**
 * The factor of the energy in a Context: 1, or the value of the scale parameter if it has a name.
 *
 * @throws OpenMMException  if the value is not finite: it would make every force NaN
 */
KML_EXPORT double getScale(OpenMM::ContextImpl& context, const std::string& scaleParameter);

/**
 * The particles of a force in the model's order of atoms, with "all particles" spelled out.
 *
 * @param numModelAtoms  atoms of the model, 0 when it takes any number
 * @throws OpenMMException  if their number is not the model's, or one is past the end of the System
 */
KML_EXPORT std::vector<int> resolveParticles(const KMLForce& force, int numModelAtoms, int numSystemParticles);

/** A model opened by the engine. Immutable; closed with the object. */
class OpenModel {
public:
    /** @throws OpenMMException  with the engine's sentence if the bytes are not a sound weight file */
    explicit OpenModel(const KMLForce::Model& bytes);
    /** Number of atoms the model describes, 0 when it takes any number. */
    int numAtoms() const;
    /** Whether the model takes any structure of the elements that it knows. */
    bool isLocal() const;
    /** Whether the model knows its uncertainty. */
    bool hasUncertainty() const;
    const kml_potential* get() const { return potential.get(); }

private:
    std::unique_ptr<kml_potential, void (*)(kml_potential*)> potential;
};

/**
 * The atomic numbers of a force's particles; empty for a model of one molecule.
 *
 * @throws OpenMMException  if they are missing, not as many as the particles, or not among the model's elements
 */
std::vector<int> resolveNumbers(const KMLForce& force, const OpenModel& model, const std::vector<int>& particles);

/**
 * Evaluates a KMLForce for one Context: holds the opened model, scratch memory and the particles, and converts between
 * OpenMM's units (nm, kJ/mol) and the engine's (Angstrom, eV). Used by one thread at a time.
 */
class KML_EXPORT Evaluator {
public:
    /** @throws OpenMMException  if the model is damaged or does not fit the particles */
    Evaluator(const KMLForce& force, int numSystemParticles);

    /**
     * Return the energy (or its standard deviation, as the force says) in kJ/mol, not scaled.
     *
     * @param positions      IN  of all particles of the System, nm
     * @param boxVectors     IN  three vectors, nm; used if the force is periodic
     * @param includeForces  compute forces too: take them with addForces()
     * @throws OpenMMException  if atoms coincide or a coordinate, the energy or a force is not finite
     */
    double computeEnergy(const std::vector<OpenMM::Vec3>& positions, const OpenMM::Vec3* boxVectors,
                         bool includeForces);

    /** Add scale times the forces of the last computeEnergy(), kJ/mol/nm, to those of the System. */
    void addForces(double scale, std::vector<OpenMM::Vec3>& forces) const;

    /** Bonds that tie the atoms of a one-molecule model together. */
    std::vector<std::pair<int, int>> getBonds() const;

private:
    std::string describeParticles(const std::vector<OpenMM::Vec3>& positions) const;

    OpenModel model;
    std::unique_ptr<kml_workspace, void (*)(kml_workspace*)> workspace;
    std::vector<int> particles, numbers;
    bool allParticles, periodic;
    bool uncertainty; // whether the standard deviation is the energy
    int numThreads;
    std::vector<double> coordinates, gradient; // (n, 3), Angstrom; forces (n, 3), eV/Angstrom
};

} // namespace OpenMMKML

#endif
