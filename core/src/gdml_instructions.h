/**
 * The templates of gdml_block.h as functions of one instruction set.
 *
 * Each of gdml_{baseline,avx2,avx512}.cpp sets the target for everything in it, before it includes anything, then
 * includes this file with KML_NAME and KML_WIDTH. The templates themselves must stand under the target: GCC lowers
 * vectors that the target lacks to scalars before it inlines, and target_clones comes later still.
 */
#include "kml/gdml_block.h"

namespace kml {

static void multiply_rows(BlockShape shape, const double* panels, int rows, const double* Q, double* W) {
    multiply<KML_WIDTH>(shape, panels, rows, Q, W);
}

static void contract_rows(BlockShape shape, const double* panels, int rows, const double* W, double* F) {
    contract<KML_WIDTH>(shape, panels, rows, W, F);
}

static void exponentials(long n, const double* t, double* e) {
    for (long k = 0; k < n; k += KML_WIDTH) {
        const Real<KML_WIDTH> tk = load<KML_WIDTH>(t + k);
        Real<KML_WIDTH> ek;
        exp_minus<KML_WIDTH, 1>(&tk, &ek);
        store<KML_WIDTH>(e + k, ek);
    }
}

template <class Kernel, bool Energies>
static void weigh_row(BlockShape shape, const double* constants, double qq, int rows, double* w, double* sums) {
    weigh_row<KML_WIDTH, Kernel, Energies>(shape, constants, qq, rows, w, sums);
}

#define KML_JOIN(a, b) a##b
#define KML_INSTRUCTIONS(name) KML_JOIN(instructions_, name)
#define KML_TEXT(name) #name
#define KML_STRING(name) KML_TEXT(name)

const InstructionSet KML_INSTRUCTIONS(KML_NAME) = {
    KML_STRING(KML_NAME),
    Registers<KML_WIDTH>::pass1_rows,
    multiply_rows,
    {{weigh_row<Matern52, false>, weigh_row<Matern52, true>},
     {weigh_row<Matern72, false>, weigh_row<Matern72, true>},
     {weigh_row<Matern92, false>, weigh_row<Matern92, true>},
     {weigh_row<SquaredExponential, false>, weigh_row<SquaredExponential, true>}},
    exponentials,
    contract_rows,
};

} // namespace kml
