/**
 * The plugin as a flat C interface, for the Python class: objects are opaque pointers, numbers plain, and whatever can
 * fail returns nonzero and leaves one sentence in `error`.
 */
#ifndef KML_OPENMM_H
#define KML_OPENMM_H

#include "kml/engine_api.h"
#include "openmmkml/internal/export.h"
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Serves tests: the way of new Contexts, a KMLForceImpl::Route. */
KML_EXPORT void kml_openmm_set_route(int route);

/** The sentence number `index` of KMLForceImpl::getWarnings(), cut to `size` bytes; 0 when there is none. */
KML_EXPORT int kml_openmm_get_warning(int index, char* text, size_t size);

/** Hand over the engine's function table, which must live as long as the process. */
KML_EXPORT int kml_openmm_set_engine(const kml_engine_api* table, char* error, size_t error_size);

/** Whether an OpenMM::Force is a KMLForce. */
KML_EXPORT int kml_openmm_is_kml_force(const void* force);

/**
 * Make a KMLForce and put it aside; deserializing `<Force type="KMLForceHandle"/>` in the same thread takes it.
 *
 * OpenMM's Python classes wrap only pointers that came out of OpenMM's own functions, and deserialize() is the one
 * that returns any kind of Force, with its ownership.
 */
KML_EXPORT int kml_openmm_put_force_aside(const char* model, size_t size, char* error, size_t error_size);

/* The methods of OpenMMKML::KMLForce; `force` is an OpenMM::Force* that is a KMLForce. */
KML_EXPORT const char* kml_openmm_get_model(const void* force, size_t* size);
KML_EXPORT int kml_openmm_set_model(void* force, const char* model, size_t size, char* error, size_t error_size);
KML_EXPORT int kml_openmm_get_num_particles(const void* force);
KML_EXPORT const int* kml_openmm_get_particles(const void* force);
KML_EXPORT int kml_openmm_set_particles(void* force, const int* particles, int n, char* error, size_t error_size);
KML_EXPORT int kml_openmm_get_num_numbers(const void* force);
KML_EXPORT const int* kml_openmm_get_numbers(const void* force);
KML_EXPORT int kml_openmm_set_numbers(void* force, const int* numbers, int n, char* error, size_t error_size);
KML_EXPORT const char* kml_openmm_get_scale_parameter(const void* force);
KML_EXPORT double kml_openmm_get_scale_default(const void* force);
KML_EXPORT int kml_openmm_set_scale_parameter(void* force, const char* name, double value, char* error,
                                              size_t error_size);
KML_EXPORT int kml_openmm_has_derivative(const void* force);
KML_EXPORT int kml_openmm_add_derivative(void* force, const char* name, char* error, size_t error_size);
KML_EXPORT int kml_openmm_get_num_threads(const void* force);
KML_EXPORT int kml_openmm_set_num_threads(void* force, int n_threads, char* error, size_t error_size);
KML_EXPORT int kml_openmm_get_output(const void* force);
KML_EXPORT int kml_openmm_set_output(void* force, int output, char* error, size_t error_size);
KML_EXPORT void kml_openmm_set_periodic(void* force, int yes);
KML_EXPORT int kml_openmm_update_parameters(void* force, void* context, char* error, size_t error_size);

#ifdef __cplusplus
}
#endif

#endif
