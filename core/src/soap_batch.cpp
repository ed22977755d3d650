#include "kml/soap_batch.h"

#include <algorithm>

namespace kml {

bool SoapBatch::add(int element, const Neighbors& given, double reach) noexcept {
    try {
        const size_t room = used + whole_lines(size_t(given.n) + 1);
        if (x.size() < room) {
            for (AlignedVector* array : {&x, &y, &z, &square})
                array->resize(2 * room);
            places.resize(2 * room);
            elements.resize(2 * room);
        }
        size_t at = used;
        for (int k = 0; k < given.n; ++k) {
            x[at] = given.x[k], y[at] = given.y[k], z[at] = given.z[k], square[at] = given.square[k];
            places[at] = k;
            elements[at] = given.element ? given.element[k] : 0;
            at += given.square[k] < reach * reach; // without a branch
        }
        environments.push_back({element, int(at - used), used, 0, {}});
        used += whole_lines(at - used);
        return true;
    } catch (...) {
        return false;
    }
}

bool SoapBatch::evaluate_with_members(const std::vector<Soap>& terms, size_t members) noexcept {
    try {
        width = members, with_members = true;
        of_members.assign(environments.size() * width, 0.0);
        left.assign(environments.size(), 0.0);
        const bool good = evaluate(terms, nullptr, 0);
        with_members = false;
        return good;
    } catch (...) {
        with_members = false;
        return false;
    }
}

bool SoapBatch::evaluate_combined(const std::vector<Soap>& terms, const double* weights, double factor) noexcept {
    return evaluate(terms, weights, factor);
}

bool SoapBatch::evaluate(const std::vector<Soap>& terms, const double* weights, double factor) noexcept {
    try {
        if (gradients.size() < 4 * used)
            gradients.resize(4 * x.size());
        std::fill(gradients.begin(), gradients.begin() + long(4 * used), 0.0);
        for (const Soap& term : terms)
            evaluate(term, weights, factor);
        return true;
    } catch (...) {
        return false;
    }
}

std::vector<SoapCenter>& SoapBatch::centers(const Soap& term) {
    block.clear(), who.clear();
    for (size_t k = 0; k < environments.size(); ++k) {
        const Environment& one = environments[k];
        if (!term.is_center(one.element))
            continue;
        const size_t s = one.start;
        who.push_back(k);
        block.push_back({one.element,
                         {one.n, x.data() + s, y.data() + s, z.data() + s, square.data() + s, elements.data() + s},
                         nullptr,
                         0,
                         {}});
    }
    return block;
}

double* SoapBatch::scratch(const Soap& term, size_t first, size_t n) {
    long neighbors = 0;
    for (size_t k = first; k < first + n; ++k)
        neighbors += block[k].neighbors.n;
    const size_t size = term.scratch(long(n), neighbors);
    if (own_scratch.size() < size)
        own_scratch.resize(size + size / 4);
    return own_scratch.data();
}

void SoapBatch::evaluate(const Soap& term, const double* weights, double factor) {
    centers(term);
    for (size_t k = 0; k < block.size(); ++k)
        block[k].gradient = gradients.data() + 4 * environments[who[k]].start;
    for (size_t first = 0; first < block.size();) {
        const size_t n = next_part(block.size() - first, size_t(term.block()));
        if (with_members) {
            block_members.resize(n * width);
            block_left.resize(n);
        }
        const SoapMemberCall call = {block_members.data(), block_left.data(), weights, factor};
        term.evaluate(block.data() + first, int(n), scratch(term, first, n), with_members || weights ? &call : nullptr);
        if (with_members)
            add_members(first, n);
        for (size_t k = first; k < first + n; ++k) {
            Environment& one = environments[who[k]];
            one.energy += block[k].energy;
            for (int c = 0; c < 6; ++c)
                one.virial[c] += block[k].virial[c];
        }
        first += n;
    }
}

/** Add what came of the members of n centers of the block to their environments. */
void SoapBatch::add_members(size_t first, size_t n) {
    for (size_t k = 0; k < n; ++k) {
        const size_t at = who[first + k];
        left[at] += block_left[k];
        for (size_t s = 0; s < width; ++s)
            of_members[at * width + s] += block_members[k * width + s];
    }
}

double SoapBatch::memory() const {
    const size_t doubles =
        x.capacity() + y.capacity() + z.capacity() + square.capacity() + gradients.capacity() + own_scratch.capacity();
    return double(doubles) * sizeof(double) + double(places.capacity() + elements.capacity()) * sizeof(int);
}

size_t next_part(size_t n, size_t most) {
    const size_t parts = (n + most - 1) / most;
    return std::min(n, 8 * ((n + 8 * parts - 1) / (8 * parts)));
}

} // namespace kml
