/**
 * Screened nuclear repulsion of a pair, and the smooth step, in OpenMM's common dialect: put before the sources that
 * use them.
 *
 * Defined by the host: KREAL, KREAL4, NUM_REPULSION.
 */

/** The smooth step s^3 (10 - 15 s + 6 s^2) with s = (r - start)/width, and its slope. */
DEVICE KREAL smoothStep(KREAL r, KREAL start, KREAL width, KREAL* slope) {
    const KREAL s = (r - start) / width;
    *slope = 0;
    if (s <= 0)
        return 0;
    if (s >= 1)
        return 1;
    *slope = 30 * s * s * (1 - s) * (1 - s) / width;
    return s * s * s * (10 - 15 * s + 6 * s * s);
}

#if NUM_REPULSION > 0
/**
 * Energy of a pair by the repulsion terms, added to its slope, too; see repulsion.h.
 *
 * repulsions [term][pair]  charge, 1/a, inner and outer radius
 */
DEVICE KREAL addRepulsion(int pair, int numPairs, KREAL r, GLOBAL const KREAL4* RESTRICT repulsions, KREAL* slope) {
    KREAL energy = 0;
    for (int m = 0; m < NUM_REPULSION; m++) {
        const KREAL4 term = repulsions[m * numPairs + pair];
        if (r >= term.w)
            continue;
        const KREAL x = r * term.y;
        const KREAL e0 = (KREAL)0.18175 * exp((KREAL)-3.19980 * x), e1 = (KREAL)0.50986 * exp((KREAL)-0.94229 * x);
        const KREAL e2 = (KREAL)0.28022 * exp((KREAL)-0.40290 * x), e3 = (KREAL)0.02817 * exp((KREAL)-0.20162 * x);
        const KREAL phi = e0 + e1 + e2 + e3;
        const KREAL phiSlope =
            -term.y * ((KREAL)3.19980 * e0 + (KREAL)0.94229 * e1 + (KREAL)0.40290 * e2 + (KREAL)0.20162 * e3);
        KREAL stepSlope;
        const KREAL step = smoothStep(r, term.z, term.w - term.z, &stepSlope);
        const KREAL coulomb = term.x / r;
        *slope += coulomb * ((1 - step) * (phiSlope - phi / r) - stepSlope * phi);
        energy += coulomb * (1 - step) * phi;
    }
    return energy;
}
#endif
