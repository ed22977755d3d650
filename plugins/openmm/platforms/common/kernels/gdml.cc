/**
 * Compute kernels of a `gdml` term in OpenMM's common dialect (formulas: docs/theory.md, layout:
 * docs/device_kernels.md).
 *
 * A row is one permuted copy of one molecule's descriptor, row = molecule * P + permutation; rows come in tiles of
 * ROWS. kreal is the type of the model's arithmetic, float or double, whatever the precision of the positions (`real`).
 *
 * Defined by the host: KREAL, KERNEL_FUNCTION (2 nu, or 0 for the squared exponential), POWER_FUNCTION, ROWS,
 * PANELS, NUM_REPULSION and NUM_WALLS (with some, KREAL4, repulsion.cc and walls.cc before this source), and as needed
 * HAS_ENERGY_COEFFICIENTS, HAS_DERIVATIVE.
 */

typedef KREAL kreal;

#define GROUP 256               // threads of a work group, in every kernel
#define PANEL 32                // training points of a panel: neighboring threads take neighboring points
#define PARTS (GROUP / PANEL)   // threads that share the sum over the descriptor of one training point
#define POINTS (PANELS * PANEL) // training points of a block
#if ROWS < 4
#define ROUND ROWS // rows whose partial sums are added up at once
#else
#define ROUND 4
#endif

#define ANGSTROM_IN_NM 10

/** r^-p from r2. */
DEVICE kreal inversePower(kreal r2, kreal power) {
#if POWER_FUNCTION == 1
    return 1 / sqrt(r2);
#elif POWER_FUNCTION == 2
    return 1 / r2;
#elif POWER_FUNCTION == 3
    return 1 / sqrt(sqrt(r2));
#elif POWER_FUNCTION == 4
    return 1 / sqrt(sqrt(sqrt(r2)));
#else
    return pow(r2, -power / 2);
#endif
}

/** G0, G1 and G2 of the theory from a2. */
DEVICE void radialFunctions(kreal a2, kreal* g0, kreal* g1, kreal* g2) {
#if KERNEL_FUNCTION == 0
    *g0 = *g1 = *g2 = exp(-a2 / 2);
#else
    const kreal a = sqrt(a2);
    const kreal e = exp(-a);
    const kreal g3 = (1 + a) * e;
    const kreal g5 = (3 + a * (3 + a)) * e;
#if KERNEL_FUNCTION == 5
    *g0 = g5;
    *g1 = g3;
    *g2 = e;
#else
    const kreal g7 = (15 + a * (15 + a * (6 + a))) * e;
#if KERNEL_FUNCTION == 7
    *g0 = g7;
    *g1 = g5;
    *g2 = g3;
#else
    *g0 = (105 + a * (105 + a * (45 + a * (10 + a)))) * e;
    *g1 = g7;
    *g2 = g5;
#endif
#endif
#endif
}

/** False for what is not finite, too. */
DEVICE int isBelow(kreal force, kreal limit) { return force > -limit && force < limit; }

DEVICE mm_ulong toFixedPoint(kreal force) { return (mm_ulong)(mm_long)(force * (kreal)0x100000000); }

// The positions' low bits exist in mixed precision only; the argument is always there.
#ifdef USE_MIXED_PRECISION
#define DISTANCE(i, j, c)                                                                                              \
    (((kreal)posq[i].c - (kreal)posq[j].c) + ((kreal)posqCorrection[i].c - (kreal)posqCorrection[j].c))
#else
#define DISTANCE(i, j, c) ((kreal)posq[i].c - (kreal)posq[j].c)
#endif

#if NUM_REPULSION + NUM_WALLS > 0
/** Distance of two atoms in Angstrom. */
DEVICE kreal distance(int i, int j, GLOBAL const real4* RESTRICT posq, GLOBAL const real4* RESTRICT posqCorrection) {
    const kreal dx = DISTANCE(i, j, x), dy = DISTANCE(i, j, y), dz = DISTANCE(i, j, z);
    return ANGSTROM_IN_NM * sqrt(dx * dx + dy * dy + dz * dz);
}

/** Energy of a pair of atoms by repulsion and walls, added to its slope, too; `priors` holds both in this order. */
DEVICE kreal addPriors(int entry, int numEntries, kreal r, GLOBAL const KREAL4* RESTRICT priors, kreal* slope) {
    kreal energy = 0;
#if NUM_REPULSION > 0
    energy += addRepulsion(entry, numEntries, r, priors, slope);
#endif
#if NUM_WALLS > 0
    energy += addWalls(entry, numEntries, r, priors + NUM_REPULSION * numEntries, slope);
#endif
    return energy;
}
#endif

/**
 * Write all rows: q = s (v r^-p - mean), zero in rows that only fill the last tile.
 *
 * pairs   [permutation][entry]   atoms of an entry of the permuted descriptor, in the molecule
 * scaling [entry]                s v and s mean
 * queries [tile][entry][row]     OUT
 */
KERNEL void computeQueries(int numMolecules, int numAtoms, int numEntries, int numPermutations, kreal power,
                           GLOBAL const real4* RESTRICT posq, GLOBAL const real4* RESTRICT posqCorrection,
                           GLOBAL const int* RESTRICT atoms, GLOBAL const int2* RESTRICT pairs,
                           GLOBAL const kreal* RESTRICT scale, GLOBAL const kreal* RESTRICT offset,
                           GLOBAL kreal* RESTRICT queries) {
    const int numRows = numMolecules * numPermutations;
    const int numTiles = (numRows + ROWS - 1) / ROWS;
    for (int index = GLOBAL_ID; index < numTiles * numEntries * ROWS; index += GLOBAL_SIZE) {
        const int tileEntry = index / ROWS;
        const int tile = tileEntry / numEntries;
        const int entry = tileEntry - tile * numEntries;
        const int row = tile * ROWS + (index - tileEntry * ROWS);
        kreal q = 0;
        if (row < numRows) {
            const int molecule = row / numPermutations;
            const int2 pair = pairs[(row - molecule * numPermutations) * numEntries + entry];
            const int i = atoms[molecule * numAtoms + pair.x];
            const int j = atoms[molecule * numAtoms + pair.y];
            const kreal dx = ANGSTROM_IN_NM * DISTANCE(i, j, x);
            const kreal dy = ANGSTROM_IN_NM * DISTANCE(i, j, y);
            const kreal dz = ANGSTROM_IN_NM * DISTANCE(i, j, z);
            q = scale[entry] * inversePower(dx * dx + dy * dy + dz * dz, power) - offset[entry];
        }
        queries[index] = q;
    }
}

/**
 * Energies of tiles of rows with slices of the training points, and their part of dE/dq.
 *
 * panelX, panelU [panel][entry][PANEL]  training descriptors (centered, scaled) and coefficients, for the distances
 * pointX, pointU [point][entry+1]       the same for the contraction; the last entry is 1 and 0: it sums the weights
 * gradient       [slice][row][entry+1]  OUT  sum of w1 x + w2 u, and of w1
 * energies       [tile*slices+slice]    OUT
 *
 * numLanes: threads, a power of two, that share the entries in the contraction; the others split the training points.
 */
KERNEL void computeTiles(int numRows, int numTiles, int numSlices, int numBlocks, int blocksPerSlice, int numEntries,
                         int numLanes, int includeForces, GLOBAL const kreal* RESTRICT queries,
                         GLOBAL const kreal* RESTRICT panelX, GLOBAL const kreal* RESTRICT panelU,
                         GLOBAL const kreal* RESTRICT pointX, GLOBAL const kreal* RESTRICT pointU,
                         GLOBAL const kreal* RESTRICT energyCoefficients, GLOBAL kreal* RESTRICT gradient,
                         GLOBAL kreal* RESTRICT energies) {
    LOCAL kreal sums[GROUP * ROUND * 2];
    LOCAL kreal weight1[POINTS * ROWS];
    LOCAL kreal weight2[POINTS * ROWS];
    const int thread = LOCAL_ID;
    const int stride = numEntries + 1;
    for (int job = GROUP_ID; job < numTiles * numSlices; job += NUM_GROUPS) {
        const int tile = job / numSlices;
        const int slice = job - tile * numSlices;
        const int firstBlock = slice * blocksPerSlice;
        const int lastBlock = (firstBlock + blocksPerSlice < numBlocks ? firstBlock + blocksPerSlice : numBlocks);
        GLOBAL const kreal* tileQueries = &queries[tile * numEntries * ROWS];
        kreal energy = 0;
        for (int block = firstBlock; block < lastBlock; block++) {

            // Distances and projections. A thread takes one training point, every PARTS'th entry and all rows.

            for (int panel = 0; panel < PANELS; panel++) {
                const int point = thread % PANEL;
                const int part = thread / PANEL;
                const size_t panelStart = (size_t)(block * PANELS + panel) * numEntries * PANEL + point;
                kreal a2[ROWS], h[ROWS];
#pragma unroll
                for (int r = 0; r < ROWS; r++)
                    a2[r] = h[r] = 0;
#pragma unroll 2
                for (int entry = part; entry < numEntries; entry += PARTS) {
                    const kreal x = panelX[panelStart + entry * PANEL];
                    const kreal u = panelU[panelStart + entry * PANEL];
#pragma unroll
                    for (int r = 0; r < ROWS; r++) {
                        // |q - x|^2 from differences: |q|^2 + |x|^2 - 2 q.x would lose digits in single precision.
                        const kreal t = tileQueries[entry * ROWS + r] - x;
                        a2[r] += t * t;
                        h[r] += t * u;
                    }
                }

                // Add up the parts, in order, and weigh.

#pragma unroll
                for (int first = 0; first < ROWS; first += ROUND) {
                    SYNC_THREADS
                    for (int r = 0; r < ROUND; r++) {
                        sums[(part * ROUND + r) * 2 * PANEL + point] = a2[first + r];
                        sums[(part * ROUND + r) * 2 * PANEL + PANEL + point] = h[first + r];
                    }
                    SYNC_THREADS
                    if (part < ROUND) {
                        kreal distance2 = 0, projection = 0;
                        for (int p = 0; p < PARTS; p++) {
                            distance2 += sums[(p * ROUND + part) * 2 * PANEL + point];
                            projection += sums[(p * ROUND + part) * 2 * PANEL + PANEL + point];
                        }
                        kreal g0, g1, g2;
                        radialFunctions(distance2, &g0, &g1, &g2);
                        kreal w1 = g2 * projection;
                        kreal e = g1 * projection;
#ifdef HAS_ENERGY_COEFFICIENTS
                        const kreal beta = energyCoefficients[(block * PANELS + panel) * PANEL + point];
                        w1 += beta * g1;
                        e += beta * g0;
#endif
                        const int row = first + part;
                        weight1[(panel * PANEL + point) * ROWS + row] = w1;
                        weight2[(panel * PANEL + point) * ROWS + row] = g1;
                        if (tile * ROWS + row < numRows)
                            energy += e;
                    }
                }
            }
            SYNC_THREADS
            if (!includeForces)
                continue;

            // Contraction. A thread takes one entry at a time, every split'th training point and all rows.

            const int lane = thread & (numLanes - 1);
            const int split = thread / numLanes;
            const int numSplits = GROUP / numLanes;
            for (int start = 0; start < stride; start += numLanes) {
                const int entry = start + lane;
                kreal f[ROWS];
#pragma unroll
                for (int r = 0; r < ROWS; r++)
                    f[r] = 0;
                if (entry < stride) {
#pragma unroll 2
                    for (int point = split; point < POINTS; point += numSplits) {
                        const size_t pointStart = (size_t)(block * POINTS + point) * stride + entry;
                        const kreal x = pointX[pointStart];
                        const kreal u = pointU[pointStart];
#pragma unroll
                        for (int r = 0; r < ROWS; r++)
                            f[r] += weight1[point * ROWS + r] * x + weight2[point * ROWS + r] * u;
                    }
                }
                GLOBAL kreal* target = &gradient[((size_t)slice * numTiles + tile) * ROWS * stride + entry];
#pragma unroll
                for (int first = 0; first < ROWS; first += ROUND) {
                    SYNC_THREADS
                    for (int r = 0; r < ROUND; r++)
                        sums[r * GROUP + thread] = f[first + r];
                    SYNC_THREADS
                    if (entry < stride) {
                        for (int r = split; r < ROUND; r += numSplits) {
                            kreal total = 0;
                            for (int s = 0; s < numSplits; s++)
                                total += sums[r * GROUP + s * numLanes + lane];
                            if (block > firstBlock)
                                total += target[(first + r) * stride];
                            target[(first + r) * stride] = total;
                        }
                    }
                }
            }
        }

        // The job's energy, in order.

        SYNC_THREADS
        sums[thread] = energy;
        SYNC_THREADS
        for (int width = GROUP / 2; width > 0; width /= 2) {
            if (thread < width)
                sums[thread] += sums[thread + width];
            SYNC_THREADS
        }
        if (thread == 0)
            energies[job] = sums[0];
        SYNC_THREADS
    }
}

/**
 * Add up the parts of dE/dq in order, undo the permutations and add forces; add up the energy.
 *
 * inversePairs [permutation][entry]  where the permuted descriptor holds the entry
 * forceScale, energyScale            scale parameter and units; derivativeScale: units alone
 * energyShift                        of all molecules, left out of the energy
 * forceLimit                         what a pair may add without an overflow of an atom's fixed-point sum
 * failure                            OUT  set to 1 if the energy or a force is not finite; such forces are left out
 * priors       [term][entry]         of each pair of atoms, as in repulsion.cc, then as in walls.cc
 */
KERNEL void applyGradient(int numMolecules, int numAtoms, int numEntries, int numPermutations, kreal power,
                          int numTiles, int numSlices, int includeForces, kreal forceScale, kreal energyScale,
                          kreal derivativeScale, kreal energyShift, kreal forceLimit, int derivativeIndex,
                          int paddedNumAtoms, GLOBAL const real4* RESTRICT posq,
                          GLOBAL const real4* RESTRICT posqCorrection, GLOBAL const int* RESTRICT atoms,
                          GLOBAL const int2* RESTRICT pairs, GLOBAL const int* RESTRICT inversePairs,
                          GLOBAL const kreal* RESTRICT scale, GLOBAL const kreal* RESTRICT offset,
                          GLOBAL const kreal* RESTRICT gradient, GLOBAL const kreal* RESTRICT energies,
                          GLOBAL mm_ulong* RESTRICT forceBuffers, GLOBAL mixed* RESTRICT energyBuffer,
                          GLOBAL int* RESTRICT failure
#if NUM_REPULSION + NUM_WALLS > 0
                          ,
                          GLOBAL const KREAL4* RESTRICT priors
#endif
#ifdef HAS_DERIVATIVE
                          ,
                          GLOBAL mixed* RESTRICT derivativeBuffer
#endif
) {
    LOCAL kreal sums[GROUP];
    LOCAL kreal weights[GROUP];
    const int thread = LOCAL_ID;
    const int lane = thread % PANEL;
    const int part = thread / PANEL;
    const int stride = numEntries + 1;
    const int numParts = numPermutations * numSlices;
    const int chunks = (numEntries + PANEL - 1) / PANEL;
    const int numJobs = (includeForces ? numMolecules * chunks : 0);
    for (int job = GROUP_ID; job < numJobs; job += NUM_GROUPS) {
        const int molecule = job / chunks;
        const int entry = (job - molecule * chunks) * PANEL + lane;
        kreal total = 0, weight = 0;
        if (entry < numEntries) {
            for (int k = part; k < numParts; k += PARTS) {
                const int slice = k / numPermutations;
                const int permutation = k - slice * numPermutations;
                GLOBAL const kreal* row =
                    &gradient[((size_t)slice * numTiles * ROWS + molecule * numPermutations + permutation) * stride];
                total += row[inversePairs[permutation * numEntries + entry]];
                weight += row[numEntries];
            }
        }
        sums[thread] = total;
        weights[thread] = weight;
        SYNC_THREADS
        if (part == 0 && entry < numEntries) {
            for (int p = 1; p < PARTS; p++) {
                total += sums[p * PANEL + lane];
                weight += weights[p * PANEL + lane];
            }
            const int2 pair = pairs[entry];
            const int i = atoms[molecule * numAtoms + pair.x];
            const int j = atoms[molecule * numAtoms + pair.y];
            const kreal dx = ANGSTROM_IN_NM * DISTANCE(i, j, x);
            const kreal dy = ANGSTROM_IN_NM * DISTANCE(i, j, y);
            const kreal dz = ANGSTROM_IN_NM * DISTANCE(i, j, z);
            const kreal r2 = dx * dx + dy * dy + dz * dz;
            const kreal y = scale[entry] * inversePower(r2, power);
            // dE/dq = sum (w1 x + w2 u) - q sum w1; dq/dr_i = -p s v r^-(p+2) (r_i - r_j).
            kreal factor = forceScale * (total - (y - offset[entry]) * weight) * power * y / r2;
#if NUM_REPULSION + NUM_WALLS > 0
            const kreal r = sqrt(r2);
            kreal slope = 0;
            addPriors(entry, numEntries, r, priors, &slope);
            factor -= forceScale * slope / r;
#endif
            const kreal fx = factor * dx, fy = factor * dy, fz = factor * dz;
            if (isBelow(fx, forceLimit) && isBelow(fy, forceLimit) && isBelow(fz, forceLimit)) {
                ATOMIC_ADD(&forceBuffers[i], toFixedPoint(fx));
                ATOMIC_ADD(&forceBuffers[i + paddedNumAtoms], toFixedPoint(fy));
                ATOMIC_ADD(&forceBuffers[i + 2 * paddedNumAtoms], toFixedPoint(fz));
                ATOMIC_ADD(&forceBuffers[j], toFixedPoint(-fx));
                ATOMIC_ADD(&forceBuffers[j + paddedNumAtoms], toFixedPoint(-fy));
                ATOMIC_ADD(&forceBuffers[j + 2 * paddedNumAtoms], toFixedPoint(-fz));
            } else
                failure[0] = 1;
        }
        SYNC_THREADS
    }

    // The energies of the jobs may be far larger than their sum, and the sum than its changes: rounding to mixed is
    // last.

    if (GROUP_ID == 0) {
        kreal energy = 0;
        for (int k = thread; k < numTiles * numSlices; k += GROUP)
            energy += energies[k];
#if NUM_REPULSION + NUM_WALLS > 0
        for (int k = thread; k < numMolecules * numEntries; k += GROUP) {
            const int molecule = k / numEntries;
            const int entry = k - molecule * numEntries;
            const int2 pair = pairs[entry];
            const int i = atoms[molecule * numAtoms + pair.x], j = atoms[molecule * numAtoms + pair.y];
            kreal slope = 0;
            energy += addPriors(entry, numEntries, distance(i, j, posq, posqCorrection), priors, &slope);
        }
#endif
        sums[thread] = energy;
        SYNC_THREADS
        for (int width = GROUP / 2; width > 0; width /= 2) {
            if (thread < width)
                sums[thread] += sums[thread + width];
            SYNC_THREADS
        }
        if (thread == 0) {
            if (!(sums[0] - sums[0] == 0))
                failure[0] = 1;
            energyBuffer[0] += (mixed)(energyScale * (sums[0] - energyShift));
#ifdef HAS_DERIVATIVE
            derivativeBuffer[derivativeIndex] += (mixed)(derivativeScale * (sums[0] - energyShift));
#endif
        }
    }
}
