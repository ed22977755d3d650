/**
 * Walls around the distance of a pair, in OpenMM's common dialect: put before the source that uses them.
 *
 * Defined by the host: KREAL, KREAL4, NUM_WALLS.
 */

#if NUM_WALLS > 0
/**
 * Energy of a pair by the terms of walls, added to its slope, too; see walls.h.
 *
 * walls [term][pair]  lower and upper bound, stiffness, onset
 */
DEVICE KREAL addWalls(int pair, int numPairs, KREAL r, GLOBAL const KREAL4* RESTRICT walls, KREAL* slope) {
    KREAL energy = 0;
    for (int m = 0; m < NUM_WALLS; m++) {
        const KREAL4 term = walls[m * numPairs + pair];
        const int isInside = r < term.x;
        const KREAL d = isInside ? term.x - r : r - term.y;
        if (!(d > 0))
            continue;
        const KREAL w = term.w;
        const KREAL rise = d < w ? d * d / (2 * w) : d - w / 2;
        *slope += isInside ? -term.z * rise : term.z * rise;
        energy += term.z * (d < w ? d * d * d / (6 * w) : (d * d - w * d + w * w / 3) / 2);
    }
    return energy;
}
#endif
