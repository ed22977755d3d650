/** What the trainer of `soap` terms asks of the engine: descriptors, and kernel rows of single sparse points. */
#ifndef KML_SOAP_TRAINING_H
#define KML_SOAP_TRAINING_H

#include "kml/gdml.h"
#include "kml/local_evaluation.h"

namespace kml {

/** A copy of a model's term made ready for training, made once and kept. */
struct SoapTraining {
    SoapTraining(const SoapTerm& term, const char* isa, SoapPurpose purpose) : soap(term, isa, purpose) {}
    Soap soap;
};

/** Return the term of this number of a weight file, prepared; NULL when memory is short. */
SoapTraining* new_soap_training(const void* data, size_t size, const char* isa, int term, bool rows) noexcept;
void free_soap_training(SoapTraining* training) noexcept;

/**
 * Power spectra of the centers among some atoms in the file's order, after LocalEvaluation::prepare().
 *
 * @param first, last  atoms first <= i < last
 * @param out  OUT (centers among them, D)
 */
Failure soap_descriptors(const LocalModel& model, const SoapTraining& training, LocalEvaluation& local, int lane,
                         long first, long last, double* out) noexcept;

/**
 * Energies, forces and virials of the sparse points first_row <= s < last_row (multiples of 8) with unit coefficients.
 *
 * @param rows  INOUT energies (rows,), forces (rows, n_atoms, 3) or NULL, virials (rows, 6), from first_row on
 */
Failure soap_rows(const LocalModel& model, const SoapTraining& training, LocalEvaluation& local, int lane,
                  long first_row, long last_row, const SoapRows& rows) noexcept;

} // namespace kml

#endif
