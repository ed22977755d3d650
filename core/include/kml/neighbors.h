/**
 * A list of neighbors that is kept while the atoms move little.
 *
 * Cells of any shape, periodic in some directions or none, smaller than the cutoff or not. The list is full (every
 * pair from both sides, an atom's own images included) and reaches a skin farther than the cutoff.
 */
#ifndef KML_NEIGHBORS_H
#define KML_NEIGHBORS_H

#include "kml/aligned.h"
#include "kml/frame.h"

#include <cstddef>
#include <vector>

namespace kml {

/** The list. A driver calls follow(); if that fails, start(), search() of all chunks, place() and link() of all. */
class NeighborList {
public:
    static constexpr long chunk_atoms = 128; // what one call of search(), place(), link() does

    double skin = 0.5; // Å; near the optimum for silicon at room temperature, flat around it

    /**
     * Bring the wrapped positions and the lattice vectors up to date; false when the list must be made anew.
     *
     * It serves until an atom moved half the skin. Of that, a strain of the cell since the list was made takes its
     * share: atoms count as moved by what the strain does not explain. Jumps by lattice vectors are no moves.
     */
    bool follow(long n_atoms, const double* positions, const Frame& frame, double cutoff, double cutoff_near);

    /** Begin a new list; false when the cell is so small that an atom has more images than this program takes. */
    bool start(long n_atoms, const double* positions, const Frame& frame, double cutoff, double cutoff_near);
    /** Find the neighbors of one chunk of atoms; any thread. False when memory is short. */
    bool search(long chunk);
    /** Make room for all; after search() of all chunks. */
    void finish_search();
    /** Copy one chunk's neighbors to their place; any thread. */
    void place(long chunk);
    /** Find the reverse of each near entry; any thread, after place() of all chunks. */
    void link(long chunk);
    void forget() { n_atoms = -1; }

    long n_chunks() const { return (n_atoms + chunk_atoms - 1) / chunk_atoms; }

    long n_atoms = -1;
    AlignedVector wrapped; // (n, 4): positions less a lattice vector that stays as long as the list
    AlignedVector shifts;  // (images, 4): lattice vectors; the last image is the negative of the first, and so on
    std::vector<long> first, first_near; // (n + 1): first entry, first near entry of each atom
    std::vector<int> index, image;       // of each entry: atom and image; the near ones of each atom come first
    std::vector<long> reverse;           // near entry (j, i) of each near entry (i, j)
    long most = 0;                       // largest number of entries of an atom

private:
    struct Chunk {
        std::vector<int> index, image, count, near;
        // One atom's neighbors before they are sorted into near and far.
        std::vector<int> found_index, found_image;
        std::vector<double> found_square;
    };
    struct Bins {
        int n[3], range[3];
        double low[3], scale[3];
        std::vector<int> first, order;
        AlignedVector positions; // (n, 4) in the order of the bins
    };

    void wrap(const double* positions, std::vector<double>& fractions);
    void set_wrapped(size_t i, const double* r, const Frame& frame, const double* jumps);
    bool count_images();
    void set_shifts(const Frame& frame);
    void fill_bins(const std::vector<double>& fractions);
    void search_atom(long i, Chunk& chunk);
    int scan_bins(long i, int first_bin, int last_bin, int image, int found, Chunk& chunk);
    void append(int found, Chunk& chunk);

    Frame frame = {}; // in which the list was made
    double cutoff = 0, cutoff_near = 0;
    std::vector<double> start_positions, turns; // (n, 3): lattice vectors that were taken from each, in their number
    bool strained = false;                      // since the list was made
    int n_images[3] = {};                       // on each side
    Bins bins;
    std::vector<int> bin_of; // (n, 3)
    std::vector<Chunk> chunks;
};

} // namespace kml

#endif
