#include "kml/potential.h"

#include "kml/elements.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <exception>
#include <pthread.h>

double kml_potential::operations(long n_atoms) const {
    // An environment takes about a microsecond, in which a core does some 2e4 operations.
    double sum = is_local() ? 2e4 * double(n_atoms) : 0;
    for (const kml::Soap& term : local.soap)
        sum += term.operations() * double(n_atoms);
    for (const kml::GDML& term : terms)
        sum += term.operations();
    return sum;
}

int kml_potential::useful_threads(int n_threads, int cores, double operations) {
    // Waking threads costs microseconds on an idle machine and milliseconds on a busy one. A core does some 2e10
    // operations a second or more: 1e6 are about 50 µs of work, worth a thread on request; unasked, a thread gets more.
    const double operations_per_thread = n_threads == 0 ? 1e7 : 1e6;
    const double useful = std::max(1.0, operations / operations_per_thread);
    return int(std::min(double(n_threads == 0 ? std::max(1, cores) : n_threads), useful));
}

bool kml_workspace::reserve(const kml::GDML& term, long geometries, int n_threads) noexcept {
    try {
        if (shared.size() < term.shared_size(geometries))
            shared.resize(term.shared_size(geometries));
        if (own.size() < size_t(n_threads))
            own.resize(size_t(n_threads));
        for (int t = 0; t < n_threads; ++t)
            if (own[size_t(t)].size() < term.thread_size(geometries))
                own[size_t(t)].resize(term.thread_size(geometries));
        return true;
    } catch (...) {
        return false;
    }
}

namespace kml {

static void say(char* error, size_t error_size, const char* text) {
    if (error && error_size)
        std::snprintf(error, error_size, "%s", text);
}

kml_potential* open_potential(const void* data, size_t size, const char* isa, char* error, size_t error_size) noexcept {
    kml_potential* potential = nullptr;
    try {
        const InstructionSet* instructions = instruction_set(isa);
        if (!instructions)
            throw WeightFileError(std::string("this processor has no instruction set named '") + isa + "'");
        const WeightFile file = read_weight_file(data, size);
        potential = new kml_potential;
        potential->species = file.species;
        potential->instructions = instructions;
        if (!file.elements.empty())
            potential->local = LocalModel(file, isa);
        for (int z : file.species) {
            const auto found = file.atom_energies.find(z);
            if (found != file.atom_energies.end())
                potential->one_body += found->second;
        }
        for (const GDMLTerm& term : file.terms)
            potential->terms.emplace_back(term, int(file.species.size()), instructions);
        potential->scales = file.uncertainty;
        potential->scales.atom_energies.clear(); // the local model has its own copy
        for (size_t k = 0; k < file.terms.size() && file.uncertainty.given; ++k)
            potential->uncertainties.emplace_back(file.terms[k], potential->terms[k]);
        if (file.elements.empty())
            potential->prior = MoleculePrior(file);
        return potential;
    } catch (const WeightFileError& reason) {
        say(error, error_size, reason.what());
    } catch (const std::bad_alloc&) {
        say(error, error_size, "the memory does not suffice for this weight file");
    } catch (const std::exception& reason) {
        say(error, error_size, reason.what());
    } catch (...) {
        say(error, error_size, "the weight file cannot be read");
    }
    delete potential;
    return nullptr;
}

void close_potential(kml_potential* potential) noexcept { delete potential; }

kml_workspace* new_workspace() noexcept { return new (std::nothrow) kml_workspace; }

void free_workspace(kml_workspace* workspace) noexcept { delete workspace; }

int team_size(int n) noexcept {
    static std::atomic<bool> started{false}, lost{false};
    static const int watching = pthread_atfork(nullptr, nullptr, [] { lost = started.load(); });
    (void)watching;
    if (lost)
        return 1;
    if (n > 1)
        started = true;
    return n;
}

Failure molecule_std(const kml_potential& potential, kml_workspace& workspace, const double* positions,
                     double* energy_std, double* forces, double* virial, double* force_std) noexcept {
    const size_t n = potential.species.size();
    const Uncertainty& scales = potential.scales;
    try {
        if (forces)
            std::fill(forces, forces + 3 * n, 0.0);
        if (virial)
            std::fill(virial, virial + 9, 0.0);
        if (force_std)
            std::fill(force_std, force_std + 3 * n, 0.0);
        double variance = double(n) * scales.energy_floor * scales.energy_floor;
        for (const GDMLUncertainty& term : potential.uncertainties) {
            variance += term.variance(positions, workspace.uncertainty, forces, virial);
            if (force_std)
                term.force_variance(positions, workspace.uncertainty, force_std);
        }
        const double root = std::sqrt(variance), factor = root > 0 ? scales.energy_scale / root : 0;
        *energy_std = scales.energy_scale * root;
        for (size_t k = 0; k < 3 * n && forces; ++k)
            forces[k] *= factor;
        for (size_t k = 0; k < 9 && virial; ++k)
            virial[k] *= factor;
        for (size_t k = 0; k < 3 * n && force_std; ++k)
            force_std[k] = scales.force_scale * std::sqrt(force_std[k] + scales.force_floor * scales.force_floor);
        return check_results(1, int(n), energy_std, forces, virial);
    } catch (...) {
        Failure failure;
        failure.reason = Failure::memory;
        return failure;
    }
}

Failure check_results(long geometries, int n_atoms, const double* energies, const double* forces,
                      const double* virials) noexcept {
    Failure failure;
    for (long g = 0; g < geometries; ++g) {
        bool good = std::isfinite(energies[g]);
        for (long k = 0; forces && k < 3L * n_atoms; ++k)
            good = good && std::isfinite(forces[g * 3 * n_atoms + k]);
        for (long k = 0; virials && k < 9; ++k)
            good = good && std::isfinite(virials[g * 9 + k]);
        if (!good) {
            failure.reason = Failure::overflow;
            failure.geometry = g;
            return failure;
        }
    }
    return failure;
}

// "element 8 (O, atom 3) is not in the model, which knows Si": as much as there is room for.
static void describe_unknown(const kml_potential& potential, const Failure& failure, const char* where, char* error,
                             size_t error_size) {
    size_t at = size_t(std::snprintf(error, error_size, "%selement %d (%s, atom %d) is not in the model, which knows",
                                     where, failure.number, element_symbol(failure.number), failure.i));
    for (size_t k = 0; k < potential.local.elements.size() && at + 8 < error_size; ++k)
        at += size_t(std::snprintf(error + at, error_size - at, "%s %s", k ? "," : "",
                                   element_symbol(potential.local.elements[k])));
}

void describe(const kml_potential& potential, const Failure& failure, bool batch, char* error,
              size_t error_size) noexcept {
    if (!error || !error_size)
        return;
    char where[48] = "";
    if (batch)
        std::snprintf(where, sizeof where, "structure %ld: ", failure.geometry);
    switch (failure.reason) {
    case Failure::not_finite:
        std::snprintf(error, error_size, "%sa coordinate of atom %d is not finite: check the input, or the time step",
                      where, failure.i);
        return;
    case Failure::coincident:
        std::snprintf(error, error_size,
                      "%satoms %d and %d coincide (distance %.3g Å): the energy is not defined; check the structure, "
                      "or the time step",
                      where, failure.i, failure.j, failure.distance);
        return;
    case Failure::overflow:
        std::snprintf(error, error_size,
                      "%sthe energy or a force is not finite: the structure is far outside the training data", where);
        return;
    case Failure::unknown_element:
        describe_unknown(potential, failure, where, error, error_size);
        return;
    case Failure::no_volume:
        std::snprintf(error, error_size,
                      "%sthe periodic lattice vectors span no volume: give a cell, or switch the periodicity off",
                      where);
        return;
    case Failure::too_small:
        std::snprintf(error, error_size,
                      "%sthe cell is so small beside the cutoff of %g Å that each atom has more than a million images: "
                      "check the unit of the cell",
                      where, potential.local.cutoff());
        return;
    case Failure::memory:
        std::snprintf(error, error_size, "the memory does not suffice for the evaluation");
        return;
    default:
        error[0] = 0;
    }
}

} // namespace kml
