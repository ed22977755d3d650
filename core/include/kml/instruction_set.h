/**
 * The functions of gdml_block.h as a table, one for each instruction set; chosen at run time.
 *
 * This header and gdml_block.h include nothing of the standard library: what they are compiled into runs on newer
 * processors only, and an inline function of a library compiled there might replace the one for all processors.
 */
#ifndef KML_INSTRUCTION_SET_H
#define KML_INSTRUCTION_SET_H

namespace kml {

constexpr int panel_points = 8;
constexpr int panel_stride = 2 * panel_points; // doubles for each descriptor entry
constexpr int panel_constants = 3 * panel_points;
constexpr int entry_multiple = 4;

/** Sizes of one call: `panels` of the block, `entries` of the (padded) descriptor. */
struct BlockShape {
    long panels;
    long entries;
};

/** The templates of gdml_block.h compiled for one instruction set. */
struct InstructionSet {
    const char* name;
    int max_rows; // largest group of query rows
    void (*multiply)(BlockShape shape, const double* panels, int rows, const double* Q, double* W);
    /** By kernel and by whether there are energy coefficients. */
    void (*weigh[4][2])(BlockShape shape, const double* constants, double qq, int rows, double* w, double* sums);
    /** e[k] = exp(-t[k]) for n values, n a multiple of 8, aligned to 64 bytes. */
    void (*exp_minus)(long n, const double* t, double* e);
    void (*contract)(BlockShape shape, const double* panels, int rows, const double* W, double* F);
};

extern const InstructionSet instructions_baseline;
#if defined(__x86_64__)
extern const InstructionSet instructions_avx2, instructions_avx512; // gdml_avx2.cpp, gdml_avx512.cpp
#endif

/**
 * Return the instruction set of this name ("avx512", "avx2", "baseline"), the best one of this processor for NULL or
 * "", or NULL when the processor lacks it or the name is unknown.
 */
const InstructionSet* instruction_set(const char* name);

} // namespace kml

#endif
