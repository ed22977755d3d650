#include "kml/soap_training.h"

#include "kml/instruction_set.h"

#include <algorithm>

namespace kml {

SoapTraining* new_soap_training(const void* data, size_t size, const char* isa, int term, bool rows) noexcept {
    try {
        const WeightFile file = read_weight_file(data, size);
        return new SoapTraining(file.soap.at(size_t(term)), instruction_set(isa)->name,
                                rows ? SoapPurpose::rows : SoapPurpose::descriptors);
    } catch (...) {
        return nullptr;
    }
}

void free_soap_training(SoapTraining* training) noexcept { delete training; }

static Failure short_of_memory() {
    Failure failure;
    failure.reason = Failure::memory;
    return failure;
}

static bool coincide(const Neighbors& neighbors) {
    return std::any_of(neighbors.square, neighbors.square + neighbors.n,
                       [](double square) { return square < coincident_square; });
}

Failure soap_descriptors(const LocalModel& model, const SoapTraining& training, LocalEvaluation& local, int lane,
                         long first, long last, double* out) noexcept {
    const Soap& soap = training.soap;
    try {
        SoapBatch batch;
        for (long start = first; start < last; start += NeighborList::chunk_atoms) {
            batch.clear();
            for (long i = start; i < std::min(last, start + NeighborList::chunk_atoms); ++i) {
                if (!soap.is_center(local.element_of(i)))
                    continue;
                const Neighbors neighbors = local.neighbors(model, lane, i, soap.cutoff());
                if (coincide(neighbors))
                    return local.coincident(lane, i, neighbors);
                if (!batch.add(local.element_of(i), neighbors, soap.cutoff()))
                    return short_of_memory();
            }
            std::vector<SoapCenter>& centers = batch.centers(soap);
            for (size_t k = 0; k < centers.size();) {
                const size_t n = next_part(centers.size() - k, size_t(soap.block()));
                soap.descriptors(centers.data() + k, int(n), batch.scratch(soap, k, n), out);
                out += n * size_t(soap.info().dimension);
                k += n;
            }
        }
        return {};
    } catch (...) {
        return short_of_memory();
    }
}

Failure soap_rows(const LocalModel& model, const SoapTraining& training, LocalEvaluation& local, int lane,
                  long first_row, long last_row, const SoapRows& rows) noexcept {
    const Soap& soap = training.soap;
    try {
        AlignedVector scratch;
        std::vector<int> atoms;
        for (long i = 0; i < local.list.n_atoms; ++i) {
            if (!soap.is_center(local.element_of(i)))
                continue;
            const Neighbors neighbors = local.neighbors(model, lane, i, soap.cutoff());
            if (coincide(neighbors))
                return local.coincident(lane, i, neighbors);
            atoms.resize(size_t(neighbors.n));
            for (size_t k = 0; k < atoms.size(); ++k)
                atoms[k] = local.list.index[size_t(local.list.first[size_t(i)] + local.entries(lane)[k])];
            const size_t size = soap.scratch(1, neighbors.n);
            if (scratch.size() < size)
                scratch.resize(size);
            SoapCenter center = {local.element_of(i), neighbors, nullptr, 0, {}};
            soap.rows(center, int(i), atoms.data(), first_row, last_row, rows, scratch.data());
        }
        return {};
    } catch (...) {
        return short_of_memory();
    }
}

} // namespace kml
