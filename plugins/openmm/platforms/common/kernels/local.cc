/**
 * Compute kernels of the local terms in OpenMM's common dialect (formulas: docs/theory.md, layout:
 * docs/device_kernels.md). Follows the text of neighbors.cc, whose list they run over.
 *
 * Every pair is met from both of its atoms: half its energy and the force on the atom at hand. Every triple is met from
 * both of its sides: half its energy and the gradient by the side at hand. So no two threads share a sum but the
 * forces, and these are integers.
 *
 * smoothStep() and addRepulsion() are in repulsion.cc.
 *
 * Defined by the host: NUM_ELEMENTS, NUM_TWO_BODY, NUM_REPULSION, and as needed HAS_DERIVATIVE.
 */

#define NUM_PAIRS (NUM_ELEMENTS * (NUM_ELEMENTS + 1) / 2)
#define COINCIDENT2 ((kreal)1e-12) // square of the distance below which atoms coincide

/** Nothing is added before the list is whole; the host makes it so and starts the kernel again. */
#define LIST_IS_UNFIT (status[STALE] || status[MOST] > capacity || status[MOST_NEAR] > nearCapacity)

/** What every kernel adds to. */
#define OUTPUTS                                                                                                        \
    GLOBAL mm_ulong *RESTRICT forceBuffers, GLOBAL mixed *RESTRICT energyBuffer, GLOBAL int *RESTRICT failure
#ifdef HAS_DERIVATIVE
#define DERIVATIVE_OUTPUT , GLOBAL mixed* RESTRICT derivativeBuffer
#define ADD_DERIVATIVE(energy)                                                                                         \
    derivativeBuffer[GLOBAL_ID * numDerivatives + derivativeIndex] += (mixed)(derivativeScale * (energy));
#else
#define DERIVATIVE_OUTPUT
#define ADD_DERIVATIVE(energy)
#endif

/** Number of an unordered pair of elements. */
DEVICE int pairNumber(int a, int b) {
    const int low = (a < b ? a : b), high = (a < b ? b : a);
    return low * NUM_ELEMENTS - low * (low - 1) / 2 + high - low;
}

/** The interval of a grid and the fraction in it; outside of the grid its first or last. grid: start, 1/h, n. */
DEVICE int gridInterval(kreal r, kreal4 grid, kreal* t) {
    const kreal u = (r - grid.x) * grid.y;
    const int last = (int)grid.z - 1;
    int interval = (u > 0 ? (int)u : 0);
    interval = (interval < last ? interval : last);
    *t = u - interval;
    return interval;
}

/** The four B-splines that are not zero at t, times the taper, and the slopes of these products. */
DEVICE void splineWeights(kreal t, kreal inverseSpacing, kreal taper, kreal taperSlope, kreal* w, kreal* d) {
    const kreal a = 1 - t, sixth = (kreal)(1.0 / 6.0);
    const kreal slopeScale = taper * inverseSpacing;
    w[0] = a * a * a * sixth;
    w[1] = ((3 * t - 6) * t * t + 4) * sixth;
    w[2] = ((3 * a - 6) * a * a + 4) * sixth;
    w[3] = t * t * t * sixth;
    d[0] = slopeScale * ((kreal)-0.5 * a * a) + taperSlope * w[0];
    d[1] = slopeScale * (((kreal)1.5 * t - 2) * t) + taperSlope * w[1];
    d[2] = slopeScale * ((2 - (kreal)1.5 * a) * a) + taperSlope * w[2];
    d[3] = slopeScale * ((kreal)0.5 * t * t) + taperSlope * w[3];
    for (int k = 0; k < 4; k++)
        w[k] *= taper;
}

/** False for what is not finite, too. */
DEVICE int isBelow(kreal force, kreal limit) { return force > -limit && force < limit; }

DEVICE mm_ulong toFixedPoint(kreal force) { return (mm_ulong)(mm_long)(force * (kreal)0x100000000); }

DEVICE void addForce(int site, kreal x, kreal y, kreal z, int paddedNumAtoms, GLOBAL mm_ulong* RESTRICT forceBuffers) {
    ATOMIC_ADD(&forceBuffers[site], toFixedPoint(x));
    ATOMIC_ADD(&forceBuffers[site + paddedNumAtoms], toFixedPoint(y));
    ATOMIC_ADD(&forceBuffers[site + 2 * paddedNumAtoms], toFixedPoint(z));
}

#if NUM_TWO_BODY > 0
/** Energy of a pair by the spline2 terms, added to it and to its slope; see two_body.h. */
DEVICE kreal addTwoBody(int pair, kreal r, GLOBAL const kreal4* RESTRICT grids, GLOBAL const int* RESTRICT starts,
                        GLOBAL const kreal4* RESTRICT polynomials, kreal* slope) {
    kreal energy = 0;
    for (int m = 0; m < NUM_TWO_BODY; m++) {
        const kreal4 grid = grids[m]; // start, 1/h, n, cutoff
        if (r >= grid.w)
            continue;
        kreal t;
        const int interval = gridInterval(r, grid, &t);
        const kreal4 p = polynomials[starts[m] + pair * ((int)grid.z + 1) + interval];
        const kreal below = (t < 0 ? t : 0);
        t = (t < 0 ? 0 : t);
        *slope += (p.y + t * (2 * p.z + 3 * t * p.w)) * grid.y;
        energy += p.x + p.y * below + t * (p.y + t * (p.z + t * p.w));
    }
    return energy;
}
#endif

/**
 * Add all pairs. 2^teamBits neighboring threads share the neighbors of an atom.
 *
 * forceScale, energyScale  scale parameter and units; derivativeScale: units alone
 * forceLimit               what a thread may add without an overflow of an atom's fixed-point sum
 * failure                  OUT  set to 1 if atoms coincide or a force is not finite; such forces are left out
 */
KERNEL void addPairs(int numAtoms, int teamBits, int imageBits, int capacity, int nearCapacity, kreal cutoff2,
                     int paddedNumAtoms, kreal forceLimit, int includeForces, kreal forceScale, kreal energyScale,
                     kreal derivativeScale, int derivativeIndex, int numDerivatives, GLOBAL const int* RESTRICT status,
                     GLOBAL const int* RESTRICT sites, GLOBAL const kpos4* RESTRICT wrapped,
                     GLOBAL const kpos4* RESTRICT shifts, GLOBAL const int2* RESTRICT counts,
                     GLOBAL const int* RESTRICT entries, GLOBAL const kreal4* RESTRICT grids,
                     GLOBAL const int* RESTRICT starts, GLOBAL const kreal4* RESTRICT polynomials,
                     GLOBAL const kreal4* RESTRICT repulsions, OUTPUTS DERIVATIVE_OUTPUT) {
    if (LIST_IS_UNFIT)
        return;
    const int team = 1 << teamBits;
    const int imageMask = (1 << imageBits) - 1;
    mixed total = 0;
    for (int task = GLOBAL_ID; task < numAtoms << teamBits; task += GLOBAL_SIZE) {
        const int slot = task >> teamBits;
        const kpos4 center = wrapped[slot];
        const int count = counts[slot].x;
        GLOBAL const int* row = &entries[(size_t)slot * capacity];
        mixed energy = 0, sumX = 0, sumY = 0, sumZ = 0;
        for (int k = task & (team - 1); k < count; k += team) {
            const int entry = row[k];
            const kpos4 other = wrapped[entry >> imageBits];
            const kpos4 shift = shifts[entry & imageMask];
            const kreal x = (kreal)((other.x - center.x) + shift.x), y = (kreal)((other.y - center.y) + shift.y),
                        z = (kreal)((other.z - center.z) + shift.z);
            const kreal r2 = x * x + y * y + z * z;
            if (!(r2 < cutoff2))
                continue;
            if (r2 < COINCIDENT2)
                failure[0] = 1;
            const kreal r = sqrt(r2);
            const int pair = pairNumber((int)center.w, (int)other.w);
            kreal slope = 0;
#if NUM_TWO_BODY > 0
            energy += addTwoBody(pair, r, grids, starts, polynomials, &slope);
#endif
#if NUM_REPULSION > 0
            energy += addRepulsion(pair, NUM_PAIRS, r, repulsions, &slope);
#endif
            const kreal pull = slope / r;
            sumX += pull * x;
            sumY += pull * y;
            sumZ += pull * z;
        }
        total += energy / 2;
        const kreal fx = forceScale * (kreal)sumX, fy = forceScale * (kreal)sumY, fz = forceScale * (kreal)sumZ;
        if (isBelow(fx, forceLimit) && isBelow(fy, forceLimit) && isBelow(fz, forceLimit)) {
            if (includeForces)
                addForce(sites[slot], fx, fy, fz, paddedNumAtoms, forceBuffers);
        } else
            failure[0] = 1;
    }
    if (!(total - total == 0))
        failure[0] = 1;
    energyBuffer[GLOBAL_ID] += (mixed)(energyScale * total);
    ADD_DERIVATIVE(total)
}

/**
 * Find the near neighbors that are sides of triples, and their distances.
 *
 * sides      [slot][k]  OUT  r_j - r_i, and in w its length
 * sideAtoms  [slot][k]  OUT  slot and element of the neighbor
 * numSides   [slot]     OUT
 */
KERNEL void findSides(int numAtoms, int imageBits, int capacity, int nearCapacity, kreal cutoff2,
                      GLOBAL const int* RESTRICT status, GLOBAL const kpos4* RESTRICT wrapped,
                      GLOBAL const kpos4* RESTRICT shifts, GLOBAL const int2* RESTRICT counts,
                      GLOBAL const int* RESTRICT near, GLOBAL kreal4* RESTRICT sides, GLOBAL int2* RESTRICT sideAtoms,
                      GLOBAL int* RESTRICT numSides) {
    if (LIST_IS_UNFIT)
        return;
    const int imageMask = (1 << imageBits) - 1;
    for (int slot = GLOBAL_ID; slot < numAtoms; slot += GLOBAL_SIZE) {
        const kpos4 center = wrapped[slot];
        const size_t row = (size_t)slot * nearCapacity;
        const int count = counts[slot].y;
        int found = 0;
        for (int k = 0; k < count; k++) {
            const int entry = near[row + k];
            const kpos4 other = wrapped[entry >> imageBits];
            const kpos4 shift = shifts[entry & imageMask];
            kreal4 side;
            side.x = (kreal)((other.x - center.x) + shift.x);
            side.y = (kreal)((other.y - center.y) + shift.y);
            side.z = (kreal)((other.z - center.z) + shift.z);
            const kreal r2 = side.x * side.x + side.y * side.y + side.z * side.z;
            if (!(r2 < cutoff2))
                continue;
            side.w = sqrt(r2);
            int2 atom;
            atom.x = entry >> imageBits;
            atom.y = (int)other.w;
            sides[row + found] = side;
            sideAtoms[row + found] = atom;
            found++;
        }
        numSides[slot] = found;
    }
}

/**
 * Add the triples of one spline3 term. 2^teamBits neighboring threads share the sides of an atom; a thread takes one
 * side at a time and runs over the others.
 *
 * nearGrid, farGrid  start, 1/h, number of intervals, cutoff of the axes
 * table              [function][far interval][a][b]: the four coefficients along the far axis that belong to it
 * tableRow           coefficients along the axes a, b
 */
KERNEL void addTriples(int numAtoms, int teamBits, int capacity, int nearCapacity, kreal4 nearGrid, kreal4 farGrid,
                       kreal taperStart, kreal taperWidth, int tableRow, int paddedNumAtoms, kreal forceLimit,
                       int includeForces, kreal forceScale, kreal energyScale, kreal derivativeScale,
                       int derivativeIndex, int numDerivatives, GLOBAL const int* RESTRICT status,
                       GLOBAL const int* RESTRICT sites, GLOBAL const kpos4* RESTRICT wrapped,
                       GLOBAL const kreal4* RESTRICT sides, GLOBAL const int2* RESTRICT sideAtoms,
                       GLOBAL const int* RESTRICT numSides, GLOBAL const kreal4* RESTRICT table,
                       OUTPUTS DERIVATIVE_OUTPUT) {
    if (LIST_IS_UNFIT)
        return;
    const int team = 1 << teamBits;
    const int numFar = (int)farGrid.z;
    mixed total = 0;
    for (int task = GLOBAL_ID; task < numAtoms << teamBits; task += GLOBAL_SIZE) {
        const int slot = task >> teamBits;
        const int center = (int)wrapped[slot].w;
        const int count = numSides[slot];
        const size_t row = (size_t)slot * nearCapacity;
        for (int own = task & (team - 1); own < count; own += team) {

            // The side at hand: its splines are the same in all of its triples.

            const kreal4 ownSide = sides[row + own];
            const int2 ownAtom = sideAtoms[row + own];
            kreal taperSlope, t, ownW[4], ownD[4];
            kreal taper = smoothStep(ownSide.w, taperStart, taperWidth, &taperSlope);
            if (taper == 0 || ownSide.w >= nearGrid.w)
                continue;
            const int ownInterval = gridInterval(ownSide.w, nearGrid, &t);
            splineWeights(t, nearGrid.y, taper, taperSlope, ownW, ownD);

            kreal energy = 0, bySide = 0, gx = 0, gy = 0, gz = 0;
            for (int k = 0; k < count; k++) {
                const kreal4 side = sides[row + k];
                const kreal fx = side.x - ownSide.x, fy = side.y - ownSide.y, fz = side.z - ownSide.z;
                const kreal far = sqrt(fx * fx + fy * fy + fz * fz);
                if (k == own || side.w >= nearGrid.w || !(far < farGrid.w) || side.w <= taperStart || far <= taperStart)
                    continue;
                const int2 atom = sideAtoms[row + k];
                kreal w[4], d[4], farW[4], farD[4];
                taper = smoothStep(side.w, taperStart, taperWidth, &taperSlope);
                const int interval = gridInterval(side.w, nearGrid, &t);
                splineWeights(t, nearGrid.y, taper, taperSlope, w, d);
                taper = smoothStep(far, taperStart, taperWidth, &taperSlope);
                const int farInterval = gridInterval(far, farGrid, &t);
                splineWeights(t, farGrid.y, taper, taperSlope, farW, farD);

                // The axis a belongs to the neighbor of the first element; for equal ones the table is symmetric.

                const int ownFirst = (ownAtom.y <= atom.y);
                const int ownStride = (ownFirst ? tableRow : 1), stride = (ownFirst ? 1 : tableRow);
                const int function = center * NUM_PAIRS + pairNumber(ownAtom.y, atom.y);
                GLOBAL const kreal4* start = &table[((size_t)function * numFar + farInterval) * tableRow * tableRow +
                                                    ownInterval * ownStride + interval * stride];
                kreal4 value, slope; // over the far axis, the sums with the own splines and with their slopes
                value.x = value.y = value.z = value.w = 0;
                slope.x = slope.y = slope.z = slope.w = 0;
#pragma unroll
                for (int a = 0; a < 4; a++) {
#pragma unroll
                    for (int b = 0; b < 4; b++) {
                        const kreal4 c = start[a * ownStride + b * stride];
                        const kreal p = ownW[a] * w[b], q = ownD[a] * w[b];
                        value.x += p * c.x;
                        value.y += p * c.y;
                        value.z += p * c.z;
                        value.w += p * c.w;
                        slope.x += q * c.x;
                        slope.y += q * c.y;
                        slope.z += q * c.z;
                        slope.w += q * c.w;
                    }
                }
                energy += value.x * farW[0] + value.y * farW[1] + value.z * farW[2] + value.w * farW[3];
                bySide += slope.x * farW[0] + slope.y * farW[1] + slope.z * farW[2] + slope.w * farW[3];
                const kreal byFar = value.x * farD[0] + value.y * farD[1] + value.z * farD[2] + value.w * farD[3];
                const kreal pull = byFar / far;
                gx -= pull * fx;
                gy -= pull * fy;
                gz -= pull * fz;
            }
            total += (kreal)0.5 * energy;
            bySide /= ownSide.w;
            gx = forceScale * (gx + bySide * ownSide.x);
            gy = forceScale * (gy + bySide * ownSide.y);
            gz = forceScale * (gz + bySide * ownSide.z);
            if (isBelow(gx, forceLimit) && isBelow(gy, forceLimit) && isBelow(gz, forceLimit)) {
                if (includeForces) {
                    addForce(sites[slot], gx, gy, gz, paddedNumAtoms, forceBuffers);
                    addForce(sites[ownAtom.x], -gx, -gy, -gz, paddedNumAtoms, forceBuffers);
                }
            } else
                failure[0] = 1;
        }
    }
    if (!(total - total == 0))
        failure[0] = 1;
    energyBuffer[GLOBAL_ID] += (mixed)(energyScale * total);
    ADD_DERIVATIVE(total)
}
