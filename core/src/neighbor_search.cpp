// Neighbors found through bins, and each near entry's reverse.
#include "kml/neighbors.h"

#include <algorithm>
#include <cmath>

namespace kml {

void NeighborList::fill_bins(const std::vector<double>& fractions) {
    const size_t n = size_t(n_atoms);
    const double width = 0.5 * (cutoff + skin); // four times fewer candidates than bins of the whole reach
    double extent[3], wanted[3];
    for (int a = 0; a < 3; ++a) {
        double low = 0, high = 1;
        if (!frame.periodic[a]) {
            low = high = n ? fractions[size_t(a)] : 0;
            for (size_t i = 0; i < n; ++i) {
                low = std::min(low, fractions[3 * i + size_t(a)]);
                high = std::max(high, fractions[3 * i + size_t(a)]);
            }
            high += 1e-9;
        }
        extent[a] = (high - low) * frame.height[a];
        bins.low[a] = low;
        // Atoms may be farther apart than float64 can say.
        wanted[a] = std::max(1.0, std::min(1e9, std::floor(extent[a] / width)));
    }
    while (wanted[0] * wanted[1] * wanted[2] > 4.0 * double(n) + 8) // sparse atoms in a large box
        for (double& count : wanted)
            count = std::max(1.0, std::floor(0.8 * count));
    for (int a = 0; a < 3; ++a) {
        bins.n[a] = int(wanted[a]);
        // A range beyond all bins of an open direction is cut in search_atom().
        const double range = std::ceil((cutoff + skin) * wanted[a] / extent[a]);
        bins.range[a] = frame.periodic[a] ? int(range) : int(std::min(range, wanted[a]));
        bins.scale[a] = wanted[a] * frame.height[a] / extent[a];
    }
    bin_of.resize(3 * n);
    bins.first.assign(size_t(bins.n[0]) * size_t(bins.n[1]) * size_t(bins.n[2]) + 1, 0);
    std::vector<int> bin(n);
    for (size_t i = 0; i < n; ++i) {
        int place = 0;
        for (int a = 0; a < 3; ++a) {
            const double b = (fractions[3 * i + size_t(a)] - bins.low[a]) * bins.scale[a];
            bin_of[3 * i + size_t(a)] = b > 0 ? int(std::min(b, bins.n[a] - 1.0)) : 0; // 0 for what is no number
            place = place * bins.n[a] + bin_of[3 * i + size_t(a)];
        }
        bin[i] = place;
        ++bins.first[size_t(place) + 1];
    }
    for (size_t k = 1; k < bins.first.size(); ++k)
        bins.first[k] += bins.first[k - 1];
    std::vector<int> next(bins.first.begin(), bins.first.end() - 1);
    bins.order.resize(n);
    bins.positions.resize(4 * n);
    for (size_t i = 0; i < n; ++i) {
        const size_t at = size_t(next[size_t(bin[i])]++);
        bins.order[at] = int(i);
        std::copy_n(wrapped.data() + 4 * i, 4, bins.positions.data() + 4 * at);
    }
}

bool NeighborList::search(long number) {
    Chunk& chunk = chunks[size_t(number)];
    try {
        chunk.index.clear(), chunk.image.clear(), chunk.count.clear(), chunk.near.clear();
        const long end = std::min(n_atoms, (number + 1) * chunk_atoms);
        for (long i = number * chunk_atoms; i < end; ++i)
            search_atom(i, chunk);
        return true;
    } catch (...) {
        return false;
    }
}

void NeighborList::search_atom(long i, Chunk& chunk) {
    int bin[3], shift[3], d[3], found = 0;
    const int* center = bin_of.data() + 3 * i;
    const auto floor_divide = [](int t, int n) { return t >= 0 ? t / n : -((n - 1 - t) / n); };
    // The bin and the image that an offset leads to; false outside an open direction.
    const auto target = [&](int a) {
        const int t = center[a] + d[a], n = bins.n[a];
        shift[a] = frame.periodic[a] ? floor_divide(t, n) : 0;
        bin[a] = t - shift[a] * n;
        return bin[a] >= 0 && bin[a] < n;
    };
    const int n2 = bins.n[2], low = center[2] - bins.range[2], high = center[2] + bins.range[2];
    const int first_shift = frame.periodic[2] ? floor_divide(low, n2) : 0;
    const int last_shift = frame.periodic[2] ? floor_divide(high, n2) : 0;
    for (d[0] = -bins.range[0]; d[0] <= bins.range[0]; ++d[0])
        if (target(0))
            for (d[1] = -bins.range[1]; d[1] <= bins.range[1]; ++d[1])
                if (target(1))
                    for (int s = first_shift; s <= last_shift; ++s) { // bins of one image stand in a row
                        const int row = (bin[0] * bins.n[1] + bin[1]) * n2;
                        const int begin = std::max(low, s * n2) - s * n2,
                                  end = std::min(high, s * n2 + n2 - 1) - s * n2;
                        const int plane = (shift[0] + n_images[0]) * (2 * n_images[1] + 1) + shift[1] + n_images[1];
                        const int image = plane * (2 * n_images[2] + 1) + s + n_images[2];
                        found = scan_bins(i, row + begin, row + end, image, found, chunk);
                    }
    append(found, chunk);
}

int NeighborList::scan_bins(long i, int first_bin, int last_bin, int image, int found, Chunk& chunk) {
    const int begin = bins.first[size_t(first_bin)], end = bins.first[size_t(last_bin) + 1];
    const size_t room = size_t(found + end - begin) + 1;
    if (chunk.found_index.size() < room) {
        chunk.found_index.resize(2 * room);
        chunk.found_image.resize(2 * room);
        chunk.found_square.resize(2 * room);
    }
    int *index_out = chunk.found_index.data(), *image_out = chunk.found_image.data();
    double* square_out = chunk.found_square.data();
    const double reach = (cutoff + skin) * (cutoff + skin);
    const double *center = wrapped.data() + 4 * i, *shift = shifts.data() + 4 * size_t(image);
    const int self = 2 * size_t(image) + 1 == shifts.size() / 4 ? int(i) : -1;
    for (int at = begin; at < end; ++at) {
        // (r_j - r_i) + shift is the exact negative of the same seen from the other side: both sides list the pair.
        const double* other = bins.positions.data() + 4 * size_t(at);
        const double x = (other[0] - center[0]) + shift[0], y = (other[1] - center[1]) + shift[1],
                     z = (other[2] - center[2]) + shift[2];
        const double square = x * x + y * y + z * z;
        index_out[found] = bins.order[size_t(at)];
        image_out[found] = image;
        square_out[found] = square;
        // Without a branch: which candidates are near is a matter of chance.
        found += int(square < reach) & int(bins.order[size_t(at)] != self);
    }
    return found;
}

void NeighborList::append(int found, Chunk& chunk) {
    const double reach = cutoff_near > 0 ? (cutoff_near + skin) * (cutoff_near + skin) : 0;
    const size_t before = chunk.index.size(), count = size_t(found);
    if (chunk.index.capacity() < before + count) {
        chunk.index.reserve(2 * (before + count));
        chunk.image.reserve(2 * (before + count));
    }
    chunk.index.resize(before + count);
    chunk.image.resize(before + count);
    size_t near = 0;
    for (size_t k = 0; k < count; ++k)
        near += chunk.found_square[k] < reach;
    size_t next[2] = {before, before + near};
    for (size_t k = 0; k < count; ++k) {
        const size_t at = next[chunk.found_square[k] < reach ? 0 : 1]++;
        chunk.index[at] = chunk.found_index[k];
        chunk.image[at] = chunk.found_image[k];
    }
    chunk.near.push_back(int(near));
    chunk.count.push_back(found);
}

void NeighborList::finish_search() {
    first.assign(size_t(n_atoms) + 1, 0);
    first_near.assign(size_t(n_atoms) + 1, 0);
    most = 0;
    size_t i = 0;
    for (const Chunk& chunk : chunks)
        for (size_t k = 0; k < chunk.count.size(); ++k, ++i) {
            first[i + 1] = first[i] + chunk.count[k];
            first_near[i + 1] = first_near[i] + chunk.near[k];
            most = std::max(most, long(chunk.count[k]));
        }
    index.resize(size_t(first.back()));
    image.resize(size_t(first.back()));
    reverse.resize(size_t(first_near.back()));
}

void NeighborList::place(long number) {
    const Chunk& chunk = chunks[size_t(number)];
    const long at = first[size_t(number * chunk_atoms)];
    std::copy(chunk.index.begin(), chunk.index.end(), index.begin() + at);
    std::copy(chunk.image.begin(), chunk.image.end(), image.begin() + at);
}

void NeighborList::link(long number) {
    const int last_image = int(shifts.size() / 4) - 1;
    const size_t end = size_t(std::min(n_atoms, (number + 1) * chunk_atoms));
    for (size_t i = size_t(number * chunk_atoms); i < end; ++i)
        for (long p = 0; p < first_near[i + 1] - first_near[i]; ++p) {
            const size_t entry = size_t(first[i] + p), j = size_t(index[entry]);
            const int wanted = last_image - image[entry];
            long q = 0;
            while (index[size_t(first[j] + q)] != int(i) || image[size_t(first[j] + q)] != wanted)
                ++q; // it is there: both sides computed the same distance
            reverse[size_t(first_near[i] + p)] = first_near[j] + q;
        }
}

} // namespace kml
