/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
#include "gdml_sum.h"

#include <algorithm>
#include <cmath>

namespace kml {

GDMLSum::GDMLSum(const WeightFile& file) : n_atoms(int(file.species.size())), prior(file) {
    for (int z : file.species) {
        const auto found = file.atom_energies.find(z);
        if (found != file.atom_energies.end())
            one_body += found->second;
    }
    for (const GDMLTerm& term : file.terms)
        terms.emplace_back(term, n_atoms, instruction_set(nullptr));
}

Failure GDMLSum::evaluate(const double* positions, int n_threads, MPI_Comm world, double& energy, double* forces) {
    energy = one_body;
    std::fill(forces, forces + 3 * n_atoms, 0.0);
    for (const GDML& term : terms) {
        const Failure failure = add_term(term, positions, n_threads, world, energy, forces);
        if (failure.reason != Failure::none)
            return failure;
    }
    prior.add(1, positions, &energy, forces, nullptr);
    Failure failure;
    bool good = std::isfinite(energy);
    for (int k = 0; k < 3 * n_atoms; ++k)
        good = good && std::isfinite(forces[k]);
    if (!good)
        failure.reason = Failure::overflow;
    return failure;
}

void GDMLSum::sum_panels(const GDML& term, long first, long last, double* sums) const {
    term.clear(1, sums);
    for (long panel = first; panel < last; panel += term.block_panels)
        term.block(1, panel, std::min(term.block_panels, last - panel), shared.data(), sums);
}

Failure GDMLSum::add_term(const GDML& term, const double* positions, int n_threads, MPI_Comm world, double& energy,
                          double* forces) {
    // A thread pays from some 50 µs of work on, a rank from where an Allreduce costs less than what it saves.
    constexpr double worth = 1e6;
    const double operations = term.operations();
    int rank = 0, ranks = 1;
    MPI_Comm_rank(world, &rank);
    MPI_Comm_size(world, &ranks);
    if (operations < worth * ranks)
        rank = 0, ranks = 1;
    const long first = term.n_panels * rank / ranks, last = term.n_panels * (rank + 1) / ranks;
    const int threads =
        int(std::max(1.0, std::min({double(n_threads), double(last - first), operations / ranks / worth})));

    shared.resize(std::max(shared.size(), term.shared_size(1)));
    own.resize(std::max(own.size(), size_t(threads)));
    for (AlignedVector& memory : own)
        memory.resize(std::max(memory.size(), term.thread_size(1)));
    const Failure failure = term.begin(1, positions, shared.data());
    if (failure.reason != Failure::none)
        return failure;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int t = 0; t < threads; ++t)
        sum_panels(term, first + (last - first) * t / threads, first + (last - first) * (t + 1) / threads,
                   own[size_t(t)].data());
    for (int t = 1; t < threads; ++t)
        term.gather(1, own[size_t(t)].data(), own[0].data());
    if (ranks > 1) // the sums stand before the scratch memory of one block
        MPI_Allreduce(MPI_IN_PLACE, own[0].data(),
                      int(term.thread_size(1)) -
                          int(term.instructions->max_rows * term.block_panels * long(panel_stride)),
                      MPI_DOUBLE, MPI_SUM, world);
    term.finish(1, positions, own[0].data(), shared.data(), &energy, forces, nullptr);
    return failure;
}

double GDMLSum::bytes() const {
    double doubles = double(shared.size());
    for (const AlignedVector& memory : own)
        doubles += double(memory.size());
    for (const GDML& term : terms)
        doubles += double(term.panels.size() + term.constants.size());
    return doubles * sizeof(double);
}

} // namespace kml
