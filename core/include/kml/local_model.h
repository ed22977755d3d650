/**
 * The local terms of a weight file, prepared for evaluation, and the energy of one environment.
 *
 * A driver owns the list of neighbors, threads and sums. For each atom it calls environment() with the vectors to the
 * neighbors, then writes forces: +force and +Σ gradient on the center, -gradient on each side. Each pair is met from
 * both of its atoms: its energy comes by halves, its force in full on the center alone.
 */
#ifndef KML_LOCAL_MODEL_H
#define KML_LOCAL_MODEL_H

#include "kml/aligned.h"
#include "kml/environment.h"
#include "kml/member_tables.h"
#include "kml/soap.h"
#include "kml/weight_file.h"

#include <vector>

namespace kml {

/** Local terms, ready: nothing in it changes after construction. */
class LocalModel {
public:
    /** An empty model without terms. */
    LocalModel() = default;
    /** @param isa  name of an instruction set, as instruction_set() takes it */
    LocalModel(const WeightFile& file, const char* isa);
    LocalModel(const LocalModel&) = delete;
    LocalModel& operator=(const LocalModel&) = delete;
    LocalModel(LocalModel&&) = default;
    LocalModel& operator=(LocalModel&&) = default;

    /** Place of an atomic number in the list of elements, -1 when the model does not know it. */
    int place(int number) const { return number >= 0 && number < 119 ? places[number] : -1; }

    bool empty() const { return elements.empty(); }
    double cutoff() const { return terms.cutoff; }
    double cutoff_triples() const { return terms.cutoff_triples; }
    /** Beyond it no neighbor feels a center by more than pairs, Å: the gradients of each center reach so far. */
    double cutoff_near() const { return cutoff_soap > terms.cutoff_triples ? cutoff_soap : terms.cutoff_triples; }

    /** Energy and gradients of one environment; thread safe. See environment.h. */
    void environment(int center, const Neighbors& neighbors, double* scratch, EnvironmentResult& result) const {
        function(terms, center, neighbors, scratch, result);
    }

    std::vector<int> elements;         // atomic numbers
    std::vector<double> atom_energies; // e0 by place, eV
    LocalTerms terms = {};             // points into the arrays below
    EnvironmentFunction* function = nullptr;
    std::vector<Soap> soap; // evaluated for many centers together: soap_batch.h
    double cutoff_soap = 0; // the largest of them, Å
    MemberTables members;   // empty without uncertainty

private:
    void add(const Spline2Term& term);
    void add(const Spline3Term& term);
    void add(const RepulsionTerm& term);

    int places[119] = {};
    std::vector<TwoBody> two_body;
    std::vector<ThreeBody> three_body;
    std::vector<Repulsion> repulsions; // (terms, pairs)
    std::vector<AlignedVector> tables;
};

} // namespace kml

#endif
