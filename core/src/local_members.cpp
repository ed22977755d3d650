// The parts of LocalEvaluation that concern the members of a model with uncertainty.
#include "kml/local_evaluation.h"

#include <algorithm>
#include <cmath>

namespace kml {

void LocalEvaluation::reserve_members(const LocalModel& model, size_t n_lanes) {
    const Members& members = model.members.members;
    const size_t width = size_t(members.width);
    member_sums.resize(size_t(n_parts()) * width);
    variance.resize(size_t(list.n_atoms));
    unexplained.assign(size_t(list.n_atoms), 0.0);
    weights.resize(width);
    for (size_t t = 0; t < n_lanes; ++t) {
        Lane& lane = lanes[t];
        lane.member_energies.resize(size_t(batch_atoms) * width);
        lane.member_numbers.resize(size_t(most_environments * members.n_numbers)); // zeros, as each use leaves them
        lane.ranges.resize(size_t(members.n_ranges));
        lane.segments.resize(size_t(members.n_segments));
        lane.waiting = {lane.member_numbers.data(), lane.ranges.data(), lane.segments.data(), 0, 0};
    }
}

/** Evaluate the environment of one atom by the term, and leave the members' weights waiting. */
void LocalEvaluation::weigh_members(const LocalModel& model, int number, long i, const Neighbors& near,
                                    EnvironmentResult& result) noexcept {
    Lane& lane = lanes[size_t(number)];
    const int center = element[size_t(i)];
    if (lane.waiting.n == most_environments || lane.waiting.center != center)
        multiply_members(model, number, i);
    model.members.functions->weigh(model.terms, model.members.members, center, near, lane.scratch.data(), lane.waiting,
                                   result);
}

/** Set the members' energies of the atoms before i whose weights wait. */
void LocalEvaluation::multiply_members(const LocalModel& model, int number, long i) noexcept {
    Lane& lane = lanes[size_t(number)];
    const Members& members = model.members.members;
    if (lane.waiting.n == 0)
        return;
    double* energies = lane.member_energies.data() + (size_t(i - lane.waiting.n) - lane.first) * size_t(members.width);
    model.members.functions->multiply(model.terms, members, lane.waiting, energies);
}

/** Add what soap terms gave the members for atom k of the lane's batch. */
void LocalEvaluation::add_soap_members(const LocalModel& model, Lane& lane, size_t k) noexcept {
    const size_t width = size_t(model.members.width());
    const double* added = lane.soap.member_energies(k);
    double* energies = lane.member_energies.data() + k * width;
    for (size_t s = 0; s < width; ++s)
        energies[s] += added[s];
    unexplained[lane.first + k] = lane.soap.unexplained(k);
}

/** Sum the members' energies over the atoms of a part, and their squares over the members. */
void LocalEvaluation::sum_members(const LocalModel& model, int number, long part) noexcept {
    const size_t width = size_t(model.members.width());
    const size_t begin = size_t(part * part_atoms);
    const size_t end = std::min(size_t(list.n_atoms), begin + size_t(part_atoms));
    double* sums = member_sums.data() + size_t(part) * width;
    std::fill(sums, sums + width, 0.0);
    const Lane& lane = lanes[size_t(number)];
    const double* e = lane.member_energies.data() + (begin - lane.first) * width;
    for (size_t i = begin; i < end; ++i, e += width) {
        double squares[8] = {};
        for (size_t s = 0; s < width; s += 8)
            for (size_t q = 0; q < 8; ++q) {
                sums[s + q] += e[s + q];
                squares[q] += e[s + q] * e[s + q];
            }
        double sum = 0;
        for (double square : squares)
            sum += square;
        variance[i] = sum + unexplained[i];
    }
}

void LocalEvaluation::finish_members(const LocalModel& model, double* energy_std, double* atomic_std) noexcept {
    const MemberTables& tables = model.members;
    const size_t width = size_t(tables.width()), n = size_t(list.n_atoms);
    std::fill(weights.begin(), weights.end(), 0.0);
    for (size_t part = 0; part < size_t(n_parts()); ++part)
        for (size_t s = 0; s < width; ++s)
            weights[s] += member_sums[part * width + s];
    double total = double(n) * tables.energy_floor * tables.energy_floor;
    for (double sum : weights)
        total += sum * sum;
    for (double left : unexplained)
        total += left;
    *energy_std = tables.energy_scale * std::sqrt(total);
    const double factor = total > 0 ? tables.energy_scale / std::sqrt(total) : 0;
    for (double& weight : weights)
        weight *= factor;
    prior_weight = factor;
    const double floor = tables.atom_floor * tables.atom_floor;
    for (size_t i = 0; i < n && atomic_std; ++i)
        atomic_std[i] = tables.atom_scale * std::sqrt(variance[i] + floor);
}

Failure LocalEvaluation::combine(const LocalModel& model) noexcept {
    with_members = false, with_combined = true;
    try {
        model.members.combine(model.terms, weights.data(), combined);
        return {};
    } catch (...) {
        Failure failure;
        failure.reason = Failure::memory;
        return failure;
    }
}

Failure LocalEvaluation::begin_gradient(const LocalModel& model) noexcept { return combine(model); }

Failure LocalEvaluation::begin_member(const LocalModel& model, int member) noexcept {
    std::fill(weights.begin(), weights.end(), 0.0);
    weights[size_t(member)] = 1;
    prior_weight = 0;
    return combine(model);
}

} // namespace kml
