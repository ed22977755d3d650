/** The way of one thread through LocalEvaluation. */
#ifndef KML_TESTS_LOCAL_DRIVER_H
#define KML_TESTS_LOCAL_DRIVER_H

#include "kml/local_evaluation.h"

namespace kml_tests {

/** Bring the list of neighbors up to date and make room for the results. */
inline kml::Failure begin(kml::LocalEvaluation& evaluation, const kml::LocalModel& model,
                          const kml::Structure& structure, bool members) {
    kml::Failure failure = evaluation.begin(model, structure);
    if (failure.reason != kml::Failure::none)
        return failure;
    if (evaluation.stale()) {
        const long n = evaluation.n_chunks();
        for (long c = 0; c < n; ++c)
            if (!evaluation.search(c)) {
                failure.reason = kml::Failure::memory;
                return failure;
            }
        failure = evaluation.finish_search();
        if (failure.reason != kml::Failure::none)
            return failure;
        for (long c = 0; c < n; ++c)
            evaluation.place(c);
        for (long c = 0; c < n; ++c)
            evaluation.link(c);
    }
    return evaluation.prepare(model, structure, 1, members);
}

/** Evaluate all environments and set the forces (n, 3). */
inline kml::Failure evaluate(kml::LocalEvaluation& evaluation, const kml::LocalModel& model, double* forces) {
    const kml::Failure failure = evaluation.environments(model, 0, 0, evaluation.n_parts());
    if (failure.reason == kml::Failure::none)
        evaluation.forces(0, evaluation.n_parts(), forces);
    return failure;
}

} // namespace kml_tests

#endif
