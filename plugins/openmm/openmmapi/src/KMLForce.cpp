#include "openmmkml/KMLForce.h"
#include "openmm/OpenMMException.h"
#include "openmmkml/internal/Engine.h"
#include "openmmkml/internal/KMLForceImpl.h"
#include <algorithm>
#include <cmath>

using namespace OpenMM;
using namespace OpenMMKML;
using namespace std;

namespace {

void checkOutput(KMLForce::Output output, const KMLForce::Model& model) {
    if (output == KMLForce::UNCERTAINTY && !OpenModel(model).hasUncertainty())
        throw OpenMMException("KMLForce: the model has no uncertainty: train it again, or ask for its energy");
}

} // namespace

KMLForce::KMLForce(vector<char> model) {
    setName("KMLForce");
    setModel(std::move(model));
}

void KMLForce::setModel(vector<char> bytes) {
    auto given = make_shared<const vector<char>>(std::move(bytes));
    checkOutput(output, given);
    model = std::move(given);
}

void KMLForce::setOutput(Output kind) {
    checkOutput(kind, model);
    output = kind;
}

void KMLForce::setParticles(vector<int> indices) {
    vector<int> sorted = indices;
    sort(sorted.begin(), sorted.end());
    if (!sorted.empty() && sorted.front() < 0)
        throw OpenMMException("KMLForce: particle " + to_string(sorted.front()) +
                              " does not exist; indices start at 0");
    auto twice = adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end())
        throw OpenMMException("KMLForce: particle " + to_string(*twice) +
                              " appears twice among the particles; each may appear once");
    particles = std::move(indices);
}

void KMLForce::setNumbers(vector<int> atomicNumbers) {
    for (int number : atomicNumbers)
        if (number < 1 || number > 118)
            throw OpenMMException("KMLForce: atomic numbers go from 1 to 118; " + to_string(number) + " was given");
    numbers = std::move(atomicNumbers);
}

void KMLForce::setScaleParameter(const string& name, double defaultValue) {
    if (!isfinite(defaultValue))
        throw OpenMMException("KMLForce: the default of the scale parameter is a finite number; " +
                              to_string(defaultValue) + " was given");
    if (name != scaleParameter)
        scaleDerivative = false;
    scaleParameter = name;
    scaleDefaultValue = defaultValue;
}

void KMLForce::addEnergyParameterDerivative(const string& name) {
    if (name.empty() || name != scaleParameter)
        throw OpenMMException("KMLForce: the energy depends on " +
                              (scaleParameter.empty() ? "no parameter; call setScaleParameter() first"
                                                      : "'" + scaleParameter + "' only; '" + name + "' was given"));
    scaleDerivative = true;
}

void KMLForce::setNumThreads(int threads) {
    if (threads < 0)
        throw OpenMMException("KMLForce: the number of threads is at least 1, or 0 for the default; " +
                              to_string(threads) + " was given");
    numThreads = threads;
}

void KMLForce::updateParametersInContext(Context& context) {
    dynamic_cast<KMLForceImpl&>(getImplInContext(context)).updateParametersInContext(getContextImpl(context));
}

ForceImpl* KMLForce::createImpl() const { return new KMLForceImpl(*this); }
