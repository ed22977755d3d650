/** Environments that wait for the `soap` terms, which are evaluated for many centers together; shared by all drivers.
 */
#ifndef KML_SOAP_BATCH_H
#define KML_SOAP_BATCH_H

#include "kml/aligned.h"
#include "kml/soap.h"

#include <vector>

namespace kml {

/** The memory of one thread: clear(), add() each environment, evaluate(), read the results. */
class SoapBatch {
public:
    struct Environment {
        int element, n;
        size_t start; // of its neighbors in the arrays
        double energy, virial[6];
    };

    void clear() { environments.clear(), used = 0; }
    /** Keep the neighbors within `reach` of one center; false when memory is short. */
    bool add(int element, const Neighbors& neighbors, double reach) noexcept;
    /** Evaluate all terms of all centers; false when memory is short. */
    bool evaluate(const std::vector<Soap>& terms) noexcept { return evaluate(terms, nullptr, 0); }
    /** The same with the energies of `width` members; see member_energies() and unexplained(). */
    bool evaluate_with_members(const std::vector<Soap>& terms, size_t width) noexcept;
    /** Evaluate Σ_s weights_s e_s + ½ factor v of the members' energies and of what is left of the prior variance. */
    bool evaluate_combined(const std::vector<Soap>& terms, const double* weights, double factor) noexcept;
    /** The environments as centers of a term, without gradients. Throws std::bad_alloc. */
    std::vector<SoapCenter>& centers(const Soap& term);
    /** Scratch memory for the first n centers that the last call of centers() returned. Throws std::bad_alloc. */
    double* scratch(const Soap& term, size_t first, size_t n);

    size_t size() const { return environments.size(); }
    const Environment& operator[](size_t k) const { return environments[k]; }
    /** Places of its neighbors among those that add() was given, (n,). */
    const int* place(size_t k) const { return places.data() + environments[k].start; }
    /** dE/dr_ij, (n, 4), eV/Å; the fourth number is zero. */
    const double* gradient(size_t k) const { return gradients.data() + 4 * environments[k].start; }
    /** Energies by all members, (width,), eV. */
    const double* member_energies(size_t k) const { return of_members.data() + k * width; }
    /** Variance that the sparse points leave of the prior, eV². */
    double unexplained(size_t k) const { return left[k]; }
    /** Bytes held. */
    double memory() const;

private:
    bool evaluate(const std::vector<Soap>& terms, const double* weights, double factor) noexcept;
    void evaluate(const Soap& term, const double* weights, double factor);
    void add_members(size_t first, size_t n);

    size_t used = 0, width = 0; // of the members' energies
    bool with_members = false;
    std::vector<Environment> environments;
    AlignedVector x, y, z, square, gradients, own_scratch;
    std::vector<int> places, elements;
    AlignedVector of_members, left, block_members, block_left; // (environments, width), (environments,), of a block
    std::vector<SoapCenter> block;
    std::vector<size_t> who; // environment of each entry of `block`
};

/** Size of the next part when n centers are divided evenly among parts of at most `most`, in whole vectors of 8. */
size_t next_part(size_t n, size_t most);

} // namespace kml

#endif
