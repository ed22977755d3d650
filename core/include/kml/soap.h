/** A `soap` term of a weight file, prepared for evaluation. */
#ifndef KML_SOAP_H
#define KML_SOAP_H

#include "kml/aligned.h"
#include "kml/soap_block.h"
#include "kml/weight_file.h"

#include <vector>

namespace kml {

/** What a term is prepared for. */
enum class SoapPurpose {
    evaluation,  // energies and forces with the file's coefficients
    rows,        // the same of each sparse point alone, for coefficients that are not known yet
    descriptors, // power spectra in the file's order, so without rotation of the radial functions
};

/** What came of a term, for people to read. */
struct SoapInfo {
    SoapForm form;
    long dimension, reduced_dimension; // of the power spectrum as in the file, and as it is evaluated
    long n_sparse;
    std::vector<int> ranks;   // radial functions kept, for each l
    double neglected;         // estimate of the energy of what was left out, eV an atom
    double kernel_operations; // of the kernel and its derivative, for each atom
    double other_operations;  // of the rest with some 30 neighbors, for each atom
    size_t bytes;             // of all tables
};

/** Ready: nothing in it changes after construction, and any number of threads may use it. */
class Soap {
public:
    /**
     * @param isa  name of an instruction set of this processor
     * @throws std::bad_alloc
     */
    Soap(const SoapTerm& term, const char* isa, SoapPurpose purpose = SoapPurpose::evaluation);
    Soap(const Soap&) = delete;
    Soap& operator=(const Soap&) = delete;
    Soap(Soap&&) = default;
    Soap& operator=(Soap&&) = default;

    double cutoff() const { return tables.cutoff; }
    bool is_center(int element) const { return centers[size_t(element)]; }
    /** Centers that are best evaluated together, at most soap_most_block. */
    int block() const { return block_centers; }
    const SoapInfo& info() const { return summary; }
    /** Floating-point operations of one atom, roughly. */
    double operations() const { return summary.kernel_operations + summary.other_operations; }

    /** Doubles of scratch memory for one block. */
    size_t scratch(long n_centers, long n_neighbors) const {
        return size_t(functions->scratch(tables, n_centers, n_neighbors));
    }
    /** Energies, gradients and virials of a block of centers; see soap_block.h. */
    void evaluate(SoapCenter* block, int n, double* scratch, const SoapMemberCall* members = nullptr) const {
        functions->evaluate(tables, block, n, scratch, members);
    }
    /** See SoapFunctions::rows: the sparse points first_row <= s < last_row, multiples of 8, into rows of `out` from 0
     * on. */
    void rows(SoapCenter& center, int atom, const int* atoms, long first_row, long last_row, const SoapRows& out,
              double* scratch) const;
    /** Power spectra (n, info().dimension) in the file's order; the term must be prepared for descriptors. */
    void descriptors(SoapCenter* block, int n, double* scratch, double* out) const;

    SoapTables tables = {}; // points into the arrays below

private:
    struct Preparation;
    void set_sizes(const SoapTerm& term);
    void rotate(const SoapTerm& term, SoapPurpose purpose, Preparation& work);
    void set_ranks(const SoapTerm& term, SoapPurpose purpose, Preparation& work);
    void set_layout(const SoapTerm& term);
    void set_radial(const SoapTerm& term, const Preparation& work);
    void set_angular(const SoapTerm& term);
    void set_elements(const SoapTerm& term, const Preparation& work);
    void set_order(const SoapTerm& term, SoapPurpose purpose, Preparation& work);
    void set_panels(const SoapTerm& term, SoapPurpose purpose, const Preparation& work);
    void set_members(const SoapTerm& term, const Preparation& work);
    void set_polynomial(const SoapTerm& term);
    void summarize(const SoapTerm& term);

    const SoapFunctions* functions = nullptr;
    SoapInfo summary;
    int block_centers = soap_group;
    std::vector<int> rank, first, row, channel, column, power_first, pairs;
    std::vector<unsigned char> counts, centers;
    std::vector<long> first_explained;
    AlignedVector radial, recursion, scale, species_weights, central, multiplicity, panels, coefficients, offsets,
        linear, points, deviations;
};

} // namespace kml

#endif
