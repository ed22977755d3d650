#include "kml/local_evaluation.h"

#include <algorithm>
#include <cmath>

namespace kml {

static Failure failed(Failure::Reason reason, long i = 0) {
    Failure failure;
    failure.reason = reason;
    failure.i = int(i);
    return failure;
}

Failure LocalEvaluation::begin(const LocalModel& model, const Structure& structure) noexcept {
    with_combined = false;
    try {
        const size_t n = size_t(structure.n_atoms);
        for (size_t k = 0; k < 3 * n; ++k)
            if (!std::isfinite(structure.positions[k]))
                return failed(Failure::not_finite, long(k / 3));
        element.resize(n);
        for (size_t i = 0; i < n; ++i) {
            element[i] = model.place(structure.numbers[i]);
            if (element[i] < 0) {
                Failure failure = failed(Failure::unknown_element, long(i));
                failure.number = structure.numbers[i];
                return failure;
            }
        }
        Frame frame;
        if (!make_frame(structure.cell, structure.pbc, frame))
            return failed(Failure::no_volume);
        const double reach = model.cutoff(), near = model.cutoff_near();
        list_is_stale = !list.follow(structure.n_atoms, structure.positions, frame, reach, near);
        if (list_is_stale && !list.start(structure.n_atoms, structure.positions, frame, reach, near))
            return failed(Failure::too_small);
        return {};
    } catch (...) {
        list.forget();
        return failed(Failure::memory);
    }
}

Failure LocalEvaluation::finish_search() noexcept {
    try {
        list.finish_search();
        return {};
    } catch (...) {
        list.forget();
        return failed(Failure::memory);
    }
}

Failure LocalEvaluation::prepare(const LocalModel& model, const Structure& structure, int n_lanes,
                                 bool members) noexcept {
    with_members = members;
    try {
        const size_t n = size_t(structure.n_atoms), room = size_t(list.most + 15) / 8 * 8;
        energy.resize(n);
        pull.resize(3 * n);
        gradient.resize(4 * list.reverse.size());
        virial.resize(6 * size_t(n_parts()));
        lanes.resize(std::max(lanes.size(), size_t(n_lanes)));
        for (size_t t = 0; t < size_t(n_lanes); ++t) {
            lanes[t].numbers.resize(4 * room);
            lanes[t].scratch.resize(size_t(environment_scratch(list.most)));
            lanes[t].entry.resize(room);
            lanes[t].element.resize(room);
        }
        if (members)
            reserve_members(model, size_t(n_lanes));
        return {};
    } catch (...) {
        list.forget();
        return failed(Failure::memory);
    }
}

Failure LocalEvaluation::environments(const LocalModel& model, int lane, long first, long last) noexcept {
    std::fill(virial.begin() + 6 * first, virial.begin() + 6 * last, 0.0);
    constexpr long parts = batch_atoms / part_atoms;
    Failure failure;
    for (long batch = first; batch < last && failure.reason == Failure::none; batch += parts) {
        const long end = std::min(last, batch + parts);
        lanes[size_t(lane)].start_batch(batch * part_atoms);
        for (long part = batch; part < end; ++part) {
            failure = part_environments(model, lane, part);
            if (failure.reason != Failure::none)
                return failure;
        }
        failure = finish_batch(model, lane, batch, end);
    }
    return failure;
}

/** Evaluate the atoms of one part: those of their members that wait for each other have no others to wait for. */
Failure LocalEvaluation::part_environments(const LocalModel& model, int lane, long part) noexcept {
    const long end = std::min(list.n_atoms, (part + 1) * part_atoms);
    Failure failure;
    long i = part * part_atoms;
    for (; i < end && failure.reason == Failure::none; ++i)
        failure = environment(model, lane, i, virial.data() + 6 * part);
    if (with_members) // whatever happened: the memory must be zero again
        multiply_members(model, lane, failure.reason == Failure::none ? i : i - 1);
    return failure;
}

/** What is done for many atoms together: the digits of each do not depend on how many. */
Failure LocalEvaluation::finish_batch(const LocalModel& model, int lane, long first_part, long last_part) noexcept {
    if (!model.soap.empty()) {
        const Failure failure = add_soap(model, lane);
        if (failure.reason != Failure::none)
            return failure;
    }
    for (long part = first_part; part < last_part && with_members; ++part)
        sum_members(model, lane, part);
    return {};
}

Neighbors LocalEvaluation::neighbors(const LocalModel& model, int number, long i, double cutoff) noexcept {
    Lane& lane = lanes[size_t(number)];
    const size_t room = lane.entry.size(), atom = size_t(i);
    double *x = lane.numbers.data(), *y = x + room, *z = y + room, *square = z + room;
    int *entry = lane.entry.data(), *kind = lane.element.data();
    const double* center = list.wrapped.data() + 4 * i;
    const double reach = cutoff * cutoff;
    const long begin = list.first[atom], count = list.first[atom + 1] - begin;
    const int *index = list.index.data() + begin, *image = list.image.data() + begin;
    int n = 0;
    for (long k = 0; k < count; ++k) {
        const double *other = list.wrapped.data() + 4 * size_t(index[k]),
                     *shift = list.shifts.data() + 4 * size_t(image[k]);
        const double dx = (other[0] - center[0]) + shift[0], dy = (other[1] - center[1]) + shift[1],
                     dz = (other[2] - center[2]) + shift[2];
        const double r2 = dx * dx + dy * dy + dz * dz;
        x[n] = dx, y[n] = dy, z[n] = dz, square[n] = r2;
        entry[n] = int(k);
        n += r2 < reach; // without a branch: whether a neighbor of the skin counts is a matter of chance
    }
    const bool many = model.terms.n_elements > 1;
    for (int k = 0; many && k < n; ++k)
        kind[k] = element[size_t(index[entry[k]])];
    return {n, x, y, z, square, many ? kind : nullptr};
}

Failure LocalEvaluation::coincident(int number, long i, const Neighbors& neighbors) const noexcept {
    Failure failure = failed(Failure::coincident, i);
    const double* closest = std::min_element(neighbors.square, neighbors.square + neighbors.n);
    failure.j = list.index[size_t(list.first[size_t(i)] + entries(number)[closest - neighbors.square])];
    failure.distance = std::sqrt(*closest);
    if (failure.j < failure.i)
        std::swap(failure.i, failure.j);
    return failure;
}

/** Gather one atom's neighbors within the cutoff, evaluate, keep the results. */
Failure LocalEvaluation::environment(const LocalModel& model, int number, long i, double* sum) noexcept {
    Lane& lane = lanes[size_t(number)];
    const size_t atom = size_t(i);
    const Neighbors near = neighbors(model, number, i, model.cutoff());
    EnvironmentResult result;
    if (with_members)
        weigh_members(model, number, i, near, result);
    else
        model.function(with_combined ? combined.terms : model.terms, element[atom], near, lane.scratch.data(), result);
    if (result.closest < coincident_square)
        return coincident(number, i, near);
    energy[atom] = result.energy + model.atom_energies[size_t(element[atom])];
    std::copy(result.force, result.force + 3, pull.data() + 3 * atom);
    for (int c = 0; c < 6; ++c)
        sum[c] += result.virial[c];
    double* own = gradient.data() + 4 * list.first_near[atom];
    std::fill(own, gradient.data() + 4 * list.first_near[atom + 1], 0.0);
    for (int s = 0; s < result.n_sides; ++s) // sides are near, and near entries come first
        std::copy_n(result.gradient + 4 * s, 3, own + 4 * lane.entry[size_t(result.side[s])]);
    if (model.soap.empty())
        return {};
    try {
        if (!lane.soap.add(element[atom], near, model.cutoff_soap))
            return failed(Failure::memory);
        const size_t last = lane.soap.size() - 1;
        for (int k = 0; k < lane.soap[last].n; ++k)
            lane.kept.push_back(lane.entry[size_t(lane.soap.place(last)[k])]);
        return {};
    } catch (...) {
        return failed(Failure::memory);
    }
}

/** Evaluate the soap terms of the lane's batch. */
Failure LocalEvaluation::add_soap(const LocalModel& model, int number) noexcept {
    Lane& lane = lanes[size_t(number)];
    if (!(with_combined  ? lane.soap.evaluate_combined(model.soap, weights.data(), prior_weight)
          : with_members ? lane.soap.evaluate_with_members(model.soap, size_t(model.members.width()))
                         : lane.soap.evaluate(model.soap)))
        return failed(Failure::memory);
    const int* entry = lane.kept.data();
    for (size_t k = 0; k < lane.soap.size(); ++k) {
        const SoapBatch::Environment& one = lane.soap[k];
        const size_t atom = lane.first + k;
        energy[atom] += one.energy;
        if (with_members)
            add_soap_members(model, lane, k);
        for (size_t c = 0; c < 6; ++c)
            virial[6 * (atom / size_t(part_atoms)) + c] += one.virial[c];
        double* own = gradient.data() + 4 * list.first_near[atom];
        const double* added = lane.soap.gradient(k);
        for (int m = 0; m < one.n; ++m, ++entry)
            for (int c = 0; c < 3; ++c)
                own[4 * *entry + c] += added[4 * m + c];
    }
    lane.soap.clear(), lane.kept.clear();
    return {};
}

void LocalEvaluation::forces(long first, long last, double* forces) const noexcept {
    const size_t end = size_t(std::min(list.n_atoms, last * part_atoms));
    for (size_t i = size_t(first * part_atoms); i < end; ++i) {
        double f[3] = {pull[3 * i], pull[3 * i + 1], pull[3 * i + 2]};
        for (size_t p = size_t(list.first_near[i]); p < size_t(list.first_near[i + 1]); ++p) {
            const double *own = gradient.data() + 4 * p, *other = gradient.data() + 4 * size_t(list.reverse[p]);
            for (int c = 0; c < 3; ++c)
                f[c] += own[c] - other[c];
        }
        std::copy(f, f + 3, forces + 3 * i);
    }
}

void LocalEvaluation::finish(double* total, double* matrix, double* atomic) const noexcept {
    double sum = 0;
    for (size_t i = 0; i < size_t(list.n_atoms); ++i)
        sum += energy[i];
    *total = sum;
    if (atomic)
        std::copy_n(energy.data(), size_t(list.n_atoms), atomic);
    if (!matrix)
        return;
    double v[6] = {};
    for (size_t part = 0; part < size_t(n_parts()); ++part)
        for (size_t c = 0; c < 6; ++c)
            v[c] += virial[6 * part + c];
    const double full[9] = {v[0], v[5], v[4], v[5], v[1], v[3], v[4], v[3], v[2]};
    std::copy(full, full + 9, matrix);
}

} // namespace kml
