/**
 * The list of neighbors of local terms in OpenMM's common dialect (layout: docs/device_kernels.md).
 *
 * Atoms are sorted into bins along the lattice vectors and from then on counted by their slot in that order. A bin of
 * atoms is seen again through each image of the cell that the reach includes. Without periodicity bins repeat, too, but
 * images do not: space far away shares its bins with space near by, and the distances tell them apart.
 *
 * kreal is the type of the terms' arithmetic, kpos that of positions: double where the device has it. In single
 * precision the rounding of the lattice vectors would be the same in every step, and atoms that pass through a face of
 * the box would gain energy.
 *
 * Defined by the host: KREAL, KREAL4, KPOS, KPOS4. Lengths are in Angstrom.
 */

typedef KREAL kreal;
typedef KREAL4 kreal4;
typedef KPOS kpos;
typedef KPOS4 kpos4;

#define SCAN_GROUP 256 // threads of scanBins()
#define ANGSTROM_IN_NM 10

#if defined(__OPENCL_C_VERSION__) || defined(__OPENCL_VERSION__)
#define ATOMIC_MAX(address, value) atomic_max(address, value)
#else
#define ATOMIC_MAX(address, value) atomicMax(address, value)
#endif

// What the host reads: whether the list is out of date, and the longest rows that it needed.
#define STALE 0
#define MOST 1
#define MOST_NEAR 2

/** The cell and its bins, as the host lays them out. */
#define VECTOR(a, c) frame[3 * (a) + (c)]      // lattice vectors, zero without periodicity
#define INVERSE(c, a) frame[9 + 3 * (c) + (a)] // fraction a of r is the sum over c of r_c INVERSE(c, a)
#define BINS(a) grid[a]                        // bins along a
#define RANGE(a) grid[3 + (a)]                 // bins to look at on either side
#define IMAGES(a) grid[6 + (a)]                // images of the cell on either side, 0 without periodicity
#define PERIODIC grid[9]                       // 1 or 0

#ifdef USE_MIXED_PRECISION
#define POSITION(i, c) (ANGSTROM_IN_NM * ((kpos)posq[i].c + (kpos)posqCorrection[i].c))
#else
#define POSITION(i, c) (ANGSTROM_IN_NM * (kpos)posq[i].c)
#endif

/** Set p to the position of atom `site` less whole lattice vectors; false if it is not finite. */
DEVICE int wrap(int site, int4 cell, GLOBAL const kpos* RESTRICT frame, GLOBAL const real4* RESTRICT posq,
                GLOBAL const real4* RESTRICT posqCorrection, kpos4* p) {
    const kpos x = POSITION(site, x) - (cell.x * VECTOR(0, 0) + cell.y * VECTOR(1, 0) + cell.z * VECTOR(2, 0));
    const kpos y = POSITION(site, y) - (cell.x * VECTOR(0, 1) + cell.y * VECTOR(1, 1) + cell.z * VECTOR(2, 1));
    const kpos z = POSITION(site, z) - (cell.x * VECTOR(0, 2) + cell.y * VECTOR(1, 2) + cell.z * VECTOR(2, 2));
    p->x = x;
    p->y = y;
    p->z = z;
    const kpos sum = x + y + z;
    return sum - sum == 0;
}

/**
 * Wrap all positions; ask for a new list if an atom moved farther than half the skin.
 *
 * sites, cells  [slot]  atom of the device's arrays, whole lattice vectors taken off it
 * reference     [slot]  wrapped position when the list was made
 * wrapped       [slot]  OUT  in w the atom's place in the model's list of elements
 */
KERNEL void moveAtoms(int numAtoms, kreal farthest2, GLOBAL const kpos* RESTRICT frame,
                      GLOBAL const real4* RESTRICT posq, GLOBAL const real4* RESTRICT posqCorrection,
                      GLOBAL const int* RESTRICT sites, GLOBAL const int4* RESTRICT cells,
                      GLOBAL const kpos4* RESTRICT reference, GLOBAL kpos4* RESTRICT wrapped,
                      GLOBAL int* RESTRICT status, GLOBAL int* RESTRICT failure) {
    for (int slot = GLOBAL_ID; slot < numAtoms; slot += GLOBAL_SIZE) {
        const kpos4 start = reference[slot];
        kpos4 p;
        p.w = start.w;
        if (!wrap(sites[slot], cells[slot], frame, posq, posqCorrection, &p))
            failure[0] = 1;
        wrapped[slot] = p;
        const kreal dx = (kreal)(p.x - start.x), dy = (kreal)(p.y - start.y), dz = (kreal)(p.z - start.z);
        if (!(dx * dx + dy * dy + dz * dz <= farthest2))
            status[STALE] = 1;
    }
}

/** Begin a new list. */
KERNEL void startList(int numBins, GLOBAL int* RESTRICT binCounts, GLOBAL int* RESTRICT status) {
    for (int bin = GLOBAL_ID; bin < numBins; bin += GLOBAL_SIZE)
        binCounts[bin] = 0;
    if (GLOBAL_ID == 0)
        status[STALE] = status[MOST] = status[MOST_NEAR] = 0;
}

/** The fraction of the cell in which a coordinate is, and the cell; neither matters if it is not finite. */
DEVICE kpos fraction(kpos x, kpos y, kpos z, int a, GLOBAL const kpos* RESTRICT frame, int* cell) {
    const kpos s = x * INVERSE(0, a) + y * INVERSE(1, a) + z * INVERSE(2, a);
    const kpos turns = floor(s);
    const int sound = turns > -1000000000 && turns < 1000000000;
    *cell = (sound ? (int)turns : 0);
    return sound ? s - turns : 0;
}

/**
 * Find each atom's bin.
 *
 * atoms  [atom]  places of the model's atoms in the device's arrays
 * bins   [atom]  OUT  whole lattice vectors to take off, and the bin in w
 */
KERNEL void binAtoms(int numAtoms, GLOBAL const int* RESTRICT grid, GLOBAL const kpos* RESTRICT frame,
                     GLOBAL const real4* RESTRICT posq, GLOBAL const real4* RESTRICT posqCorrection,
                     GLOBAL const int* RESTRICT atoms, GLOBAL int4* RESTRICT bins, GLOBAL int* RESTRICT binCounts) {
    for (int atom = GLOBAL_ID; atom < numAtoms; atom += GLOBAL_SIZE) {
        const int site = atoms[atom];
        const kpos x = POSITION(site, x), y = POSITION(site, y), z = POSITION(site, z);
        int cell0, cell1, cell2;
        const int b0 = (int)(fraction(x, y, z, 0, frame, &cell0) * BINS(0));
        const int b1 = (int)(fraction(x, y, z, 1, frame, &cell1) * BINS(1));
        const int b2 = (int)(fraction(x, y, z, 2, frame, &cell2) * BINS(2));
        int4 bin;
        bin.x = cell0;
        bin.y = cell1;
        bin.z = cell2;
        // Rounding may take a fraction to 1.
        bin.w = ((b0 < BINS(0) ? b0 : BINS(0) - 1) * BINS(1) + (b1 < BINS(1) ? b1 : BINS(1) - 1)) * BINS(2) +
                (b2 < BINS(2) ? b2 : BINS(2) - 1);
        bins[atom] = bin;
        ATOMIC_ADD(&binCounts[bin.w], 1);
    }
}

/** Sum up the counts: binStarts[bin] and binEnds[bin] begin where the bin does. One work group. */
KERNEL void scanBins(int numBins, GLOBAL const int* RESTRICT binCounts, GLOBAL int* RESTRICT binStarts,
                     GLOBAL int* RESTRICT binEnds) {
    LOCAL int sums[SCAN_GROUP];
    const int thread = LOCAL_ID;
    const int share = (numBins + SCAN_GROUP - 1) / SCAN_GROUP;
    const int first = thread * share;
    const int last = (first + share < numBins ? first + share : numBins);
    int sum = 0;
    for (int bin = first; bin < last; bin++)
        sum += binCounts[bin];
    sums[thread] = sum;
    SYNC_THREADS
    for (int width = 1; width < SCAN_GROUP; width *= 2) {
        const int before = (thread >= width ? sums[thread - width] : 0);
        SYNC_THREADS
        sums[thread] += before;
        SYNC_THREADS
    }
    int start = sums[thread] - sum;
    for (int bin = first; bin < last; bin++) {
        binStarts[bin] = binEnds[bin] = start;
        start += binCounts[bin];
    }
}

/** Put the atoms into their bins, in no order; binEnds then ends them. */
KERNEL void fillBins(int numAtoms, GLOBAL const int4* RESTRICT bins, GLOBAL int* RESTRICT binEnds,
                     GLOBAL int* RESTRICT order) {
    for (int atom = GLOBAL_ID; atom < numAtoms; atom += GLOBAL_SIZE)
        order[ATOMIC_ADD(&binEnds[bins[atom].w], 1)] = atom;
}

/**
 * Sort the atoms of each bin, so that all sums have a fixed order, and wrap them.
 *
 * elements  [atom]  places in the model's list of elements
 */
KERNEL void sortBins(int numBins, GLOBAL const int* RESTRICT binStarts, GLOBAL const int* RESTRICT binEnds,
                     GLOBAL const int4* RESTRICT bins, GLOBAL const int* RESTRICT atoms,
                     GLOBAL const int* RESTRICT elements, GLOBAL const kpos* RESTRICT frame,
                     GLOBAL const real4* RESTRICT posq, GLOBAL const real4* RESTRICT posqCorrection,
                     GLOBAL int* RESTRICT order, GLOBAL int* RESTRICT sites, GLOBAL int4* RESTRICT cells,
                     GLOBAL kpos4* RESTRICT reference, GLOBAL kpos4* RESTRICT wrapped, GLOBAL int* RESTRICT failure) {
    for (int bin = GLOBAL_ID; bin < numBins; bin += GLOBAL_SIZE) {
        const int start = binStarts[bin], end = binEnds[bin];
        for (int k = start + 1; k < end; k++) {
            const int atom = order[k];
            int place = k;
            for (; place > start && order[place - 1] > atom; place--)
                order[place] = order[place - 1];
            order[place] = atom;
        }
        for (int slot = start; slot < end; slot++) {
            const int atom = order[slot];
            const int4 cell = bins[atom];
            kpos4 p;
            p.w = (kpos)elements[atom];
            if (!wrap(atoms[atom], cell, frame, posq, posqCorrection, &p))
                failure[0] = 1;
            sites[slot] = atoms[atom];
            cells[slot] = cell;
            reference[slot] = p;
            wrapped[slot] = p;
        }
    }
}

/** Quotient rounded down. */
DEVICE int floorDivide(int a, int b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

/**
 * Find the neighbors of all atoms; rows longer than the room for them are cut, and the host told.
 *
 * shifts              [image]     lattice vectors; an image's number has its opposite's place from the other end
 * entries, near       [slot][k]   OUT  neighbor << imageBits | image; near: those within the reach of triples
 * counts              [slot]      OUT  neighbors, near neighbors
 */
KERNEL void findNeighbors(int numAtoms, int numImages, int imageBits, int capacity, int nearCapacity, kreal reach2,
                          kreal nearReach2, GLOBAL const int* RESTRICT grid, GLOBAL const kpos4* RESTRICT shifts,
                          GLOBAL const int* RESTRICT binStarts, GLOBAL const int* RESTRICT binEnds,
                          GLOBAL const int4* RESTRICT cells, GLOBAL const kpos4* RESTRICT wrapped,
                          GLOBAL int* RESTRICT entries, GLOBAL int* RESTRICT near, GLOBAL int2* RESTRICT counts,
                          GLOBAL int* RESTRICT status) {
    for (int slot = GLOBAL_ID; slot < numAtoms; slot += GLOBAL_SIZE) {
        const kpos4 center = wrapped[slot];
        const int bin = cells[slot].w;
        const int b2 = bin % BINS(2), b1 = bin / BINS(2) % BINS(1), b0 = bin / BINS(2) / BINS(1);
        GLOBAL int* row = &entries[(size_t)slot * capacity];
        GLOBAL int* nearRow = &near[(size_t)slot * nearCapacity];
        int count = 0, nearCount = 0;
        for (int t0 = b0 - RANGE(0); t0 <= b0 + RANGE(0); t0++) {
            const int h0 = floorDivide(t0, BINS(0));
            for (int t1 = b1 - RANGE(1); t1 <= b1 + RANGE(1); t1++) {
                const int h1 = floorDivide(t1, BINS(1));
                for (int t2 = b2 - RANGE(2); t2 <= b2 + RANGE(2); t2++) {
                    const int h2 = floorDivide(t2, BINS(2));
                    const int other = ((t0 - h0 * BINS(0)) * BINS(1) + t1 - h1 * BINS(1)) * BINS(2) + t2 - h2 * BINS(2);
                    const int image = ((PERIODIC * h0 + IMAGES(0)) * (2 * IMAGES(1) + 1) + PERIODIC * h1 + IMAGES(1)) *
                                          (2 * IMAGES(2) + 1) +
                                      PERIODIC * h2 + IMAGES(2);
                    const kpos4 shift = shifts[image];
                    const int self = (2 * image + 1 == numImages ? slot : -1);
                    const int end = binEnds[other];
                    for (int k = binStarts[other]; k < end; k++) {
                        // (r_j - r_i) + shift is the exact negative of the same seen from the other side.
                        const kpos4 p = wrapped[k];
                        const kreal x = (kreal)((p.x - center.x) + shift.x), y = (kreal)((p.y - center.y) + shift.y),
                                    z = (kreal)((p.z - center.z) + shift.z);
                        const kreal r2 = x * x + y * y + z * z;
                        if (!(r2 < reach2) || k == self)
                            continue;
                        if (count < capacity)
                            row[count] = k << imageBits | image;
                        count++;
                        if (r2 < nearReach2) {
                            if (nearCount < nearCapacity)
                                nearRow[nearCount] = k << imageBits | image;
                            nearCount++;
                        }
                    }
                }
            }
        }
        int2 found;
        found.x = count;
        found.y = nearCount;
        counts[slot] = found;
        ATOMIC_MAX(&status[MOST], count);
        ATOMIC_MAX(&status[MOST_NEAR], nearCount);
    }
}
