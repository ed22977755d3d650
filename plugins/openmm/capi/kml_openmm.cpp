#include "kml_openmm.h"
#include "openmm/Context.h"
#include "openmm/OpenMMException.h"
#include "openmmkml/KMLForce.h"
#include "openmmkml/internal/Engine.h"
#include "openmmkml/internal/KMLForceImpl.h"
#include "registration.h"
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

using namespace OpenMMKML;
using namespace std;

namespace {

/** Run `action`; turn an exception into a sentence. */
template <class Action>
int guarded(char* error, size_t error_size, Action action) {
    try {
        action();
        return 0;
    } catch (const std::exception& exception) {
        snprintf(error, error_size, "%s", exception.what());
    }
    return 1;
}

KMLForce& get(void* force) { return dynamic_cast<KMLForce&>(*static_cast<OpenMM::Force*>(force)); }

const KMLForce& get(const void* force) {
    return dynamic_cast<const KMLForce&>(*static_cast<const OpenMM::Force*>(force));
}

} // namespace

void kml_openmm_set_route(int route) { KMLForceImpl::setRoute(static_cast<KMLForceImpl::Route>(route)); }

int kml_openmm_get_warning(int index, char* text, size_t size) {
    const vector<string> warnings = KMLForceImpl::getWarnings();
    if (index < 0 || index >= (int)warnings.size())
        return 0;
    snprintf(text, size, "%s", warnings[index].c_str());
    return 1;
}

int kml_openmm_set_engine(const kml_engine_api* table, char* error, size_t error_size) {
    return guarded(error, error_size, [&] { setEngine(table); });
}

int kml_openmm_is_kml_force(const void* force) {
    return dynamic_cast<const KMLForce*>(static_cast<const OpenMM::Force*>(force)) != nullptr;
}

int kml_openmm_put_force_aside(const char* model, size_t size, char* error, size_t error_size) {
    return guarded(error, error_size, [&] { putForceAside(make_unique<KMLForce>(vector<char>(model, model + size))); });
}

const char* kml_openmm_get_model(const void* force, size_t* size) {
    const vector<char>& bytes = *get(force).getModel();
    *size = bytes.size();
    return bytes.data();
}

int kml_openmm_set_model(void* force, const char* model, size_t size, char* error, size_t error_size) {
    return guarded(error, error_size, [&] { get(force).setModel(vector<char>(model, model + size)); });
}

int kml_openmm_get_num_particles(const void* force) { return get(force).getParticles().size(); }

const int* kml_openmm_get_particles(const void* force) { return get(force).getParticles().data(); }

int kml_openmm_set_particles(void* force, const int* particles, int n, char* error, size_t error_size) {
    return guarded(error, error_size, [&] { get(force).setParticles(vector<int>(particles, particles + n)); });
}

int kml_openmm_get_num_numbers(const void* force) { return get(force).getNumbers().size(); }

const int* kml_openmm_get_numbers(const void* force) { return get(force).getNumbers().data(); }

int kml_openmm_set_numbers(void* force, const int* numbers, int n, char* error, size_t error_size) {
    return guarded(error, error_size, [&] { get(force).setNumbers(vector<int>(numbers, numbers + n)); });
}

const char* kml_openmm_get_scale_parameter(const void* force) { return get(force).getScaleParameter().c_str(); }

double kml_openmm_get_scale_default(const void* force) { return get(force).getScaleDefaultValue(); }

int kml_openmm_set_scale_parameter(void* force, const char* name, double value, char* error, size_t error_size) {
    return guarded(error, error_size, [&] { get(force).setScaleParameter(name, value); });
}

int kml_openmm_has_derivative(const void* force) { return get(force).hasEnergyParameterDerivative(); }

int kml_openmm_add_derivative(void* force, const char* name, char* error, size_t error_size) {
    return guarded(error, error_size, [&] { get(force).addEnergyParameterDerivative(name); });
}

int kml_openmm_get_num_threads(const void* force) { return get(force).getNumThreads(); }

int kml_openmm_set_num_threads(void* force, int n_threads, char* error, size_t error_size) {
    return guarded(error, error_size, [&] { get(force).setNumThreads(n_threads); });
}

int kml_openmm_get_output(const void* force) { return get(force).getOutput(); }

int kml_openmm_set_output(void* force, int output, char* error, size_t error_size) {
    return guarded(error, error_size, [&] { get(force).setOutput(static_cast<KMLForce::Output>(output)); });
}

void kml_openmm_set_periodic(void* force, int yes) { get(force).setUsesPeriodicBoundaryConditions(yes != 0); }

int kml_openmm_update_parameters(void* force, void* context, char* error, size_t error_size) {
    return guarded(error, error_size,
                   [&] { get(force).updateParametersInContext(*static_cast<OpenMM::Context*>(context)); });
}
