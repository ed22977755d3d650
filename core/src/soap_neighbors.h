/** The neighbors of a center, sorted by element, with their places in the radial table and the cutoff function. */
#ifndef KML_SOAP_NEIGHBORS_H
#define KML_SOAP_NEIGHBORS_H

#include "kml/soap_block.h"

namespace kml {
namespace {

constexpr int W = KML_WIDTH;
typedef Real<W> R;

KML_INLINE R select(Integer<W> condition, R yes, R no) { return condition ? yes : no; }

KML_INLINE long round_up(long n, long to) { return (n + to - 1) / to * to; }

/** Hands out pieces of the scratch memory, each on its own cache line. */
struct Arena {
    double* at;
    double* doubles(long n) {
        double* start = at;
        at += round_up(n, 8);
        return start;
    }
    int* ints(long n) { return reinterpret_cast<int*>(doubles((n + 1) / 2)); }
};

/** Those that count, padded to whole vectors after each element by neighbors whose cutoff function is zero. */
struct Neighborhood {
    double *x, *y, *z, *inverse;                  // unit vectors, 1/r
    double *interval, *fraction, *cutoff, *slope; // of the radial table; F(r) and F'(r)
    int* place;                                   // among the given neighbors, -1 for padding
    int* begin;                                   // (n_elements + 1)
};

/** Padded length that n neighbors can have. */
long neighborhood_room(const SoapTables& tables, long n) {
    return round_up(n + (W - 1) * (n < tables.n_elements ? n : tables.n_elements), 8) + 8;
}

long neighborhood_size(const SoapTables& tables, long n) {
    const long room = neighborhood_room(tables, n);
    return 8 * room + round_up((room + 1) / 2, 8) + round_up((tables.n_elements + 2) / 2, 8);
}

Neighborhood lay_out(const SoapTables& tables, long n, Arena& arena) {
    const long room = neighborhood_room(tables, n);
    Neighborhood hood;
    hood.x = arena.doubles(room), hood.y = arena.doubles(room), hood.z = arena.doubles(room);
    hood.inverse = arena.doubles(room), hood.interval = arena.doubles(room), hood.fraction = arena.doubles(room);
    hood.cutoff = arena.doubles(room), hood.slope = arena.doubles(room);
    hood.place = arena.ints(room);
    hood.begin = arena.ints(tables.n_elements + 1);
    return hood;
}

/** Set the places and the first entry of each element; return the padded number. */
int sort_neighbors(const SoapTables& tables, const Neighbors& given, Neighborhood& hood) {
    const double reach = tables.cutoff * tables.cutoff;
    int n = 0;
    for (int element = 0; element < tables.n_elements; ++element) {
        hood.begin[element] = n;
        if (!tables.counts[element])
            continue;
        if (tables.n_elements == 1) {
            for (int k = 0; k < given.n; ++k) {
                hood.place[n] = k;
                n += given.square[k] < reach;
            }
        } else {
            for (int k = 0; k < given.n; ++k) {
                hood.place[n] = k;
                n += int(given.square[k] < reach) & int(given.element[k] == element);
            }
        }
        while (n % W)
            hood.place[n++] = -1;
    }
    hood.begin[tables.n_elements] = n;
    return n;
}

/** cos and sin of πx for x from 0 to 1, by their Taylor series around 1/2. */
KML_INLINE void cos_sin_pi(R x, R& cosine, R& sine) {
    const R y = (x - 0.5) * 3.14159265358979323846, y2 = y * y;
    R s = broadcast<W>(-1.0 / 51090942171709440000.0), c = broadcast<W>(-1.0 / 1124000727777607680000.0);
    s = s * -1.0; // +y^21/21!
    const double odd[] = {-1.0 / 121645100408832000.0,
                          1.0 / 355687428096000.0,
                          -1.0 / 1307674368000.0,
                          1.0 / 6227020800.0,
                          -1.0 / 39916800.0,
                          1.0 / 362880.0,
                          -1.0 / 5040.0,
                          1.0 / 120.0,
                          -1.0 / 6.0,
                          1.0};
    const double even[] = {1.0 / 2432902008176640000.0,
                           -1.0 / 6402373705728000.0,
                           1.0 / 20922789888000.0,
                           -1.0 / 87178291200.0,
                           1.0 / 479001600.0,
                           -1.0 / 3628800.0,
                           1.0 / 40320.0,
                           -1.0 / 720.0,
                           1.0 / 24.0,
                           -0.5,
                           1.0};
    KML_UNROLL for (int k = 0; k < 10; ++k) s = s * y2 + odd[k];
    KML_UNROLL for (int k = 0; k < 11; ++k) c = c * y2 + even[k];
    cosine = -(s * y);
    sine = c;
}

/** F(r) and F'(r): the cosine cutoff times the decay. */
KML_INLINE void radial_weight(const SoapTables& tables, const double* r, R& value, R& slope) {
    const R distance = load<W>(r), zero = {};
    R x = (distance - (tables.cutoff - tables.cutoff_width)) * (1.0 / tables.cutoff_width);
    const Integer<W> inside = x > 0.0, beyond = x >= 1.0;
    x = select(beyond, broadcast<W>(1.0), x);
    x = select(inside, x, zero);
    R cosine, sine;
    cos_sin_pi(x, cosine, sine);
    value = select(inside, 0.5 * (1.0 + cosine), broadcast<W>(1.0));
    slope = select(inside, (-0.5 * 3.14159265358979323846 / tables.cutoff_width) * sine, zero);
    value = select(beyond, zero, value);
    slope = select(beyond, zero, slope);
    if (tables.decay_exponent > 0) {
        const double rate = tables.decay_rate, top = rate > 0 ? rate : 1;
        alignas(64) double d[W], dd[W];
        for (int l = 0; l < W; ++l) {
            const double q = __builtin_pow(r[l] / tables.decay_scale, tables.decay_exponent);
            d[l] = top / (rate + q);
            dd[l] = -d[l] * tables.decay_exponent * q / (r[l] * (rate + q));
        }
        slope = slope * load<W>(d) + value * load<W>(dd);
        value = value * load<W>(d);
    }
}

/** Sort, then fill all arrays. */
void prepare_neighbors(const SoapTables& tables, const Neighbors& given, Neighborhood& hood) {
    const int n = sort_neighbors(tables, given, hood);
    for (int k = 0; k < n; ++k) {
        const int place = hood.place[k];
        hood.x[k] = place < 0 ? 0 : given.x[place];
        hood.y[k] = place < 0 ? 0 : given.y[place];
        hood.z[k] = place < 0 ? tables.cutoff : given.z[place];
        hood.cutoff[k] = place < 0 ? tables.cutoff * tables.cutoff : given.square[place];
    }
    const R last = broadcast<W>(tables.n_intervals - 1.0);
    for (int k = 0; k < n; k += W) {
        const R r = square_root<W>(load<W>(hood.cutoff + k)), inverse = 1.0 / r;
        store<W>(hood.x + k, load<W>(hood.x + k) * inverse);
        store<W>(hood.y + k, load<W>(hood.y + k) * inverse);
        store<W>(hood.z + k, load<W>(hood.z + k) * inverse);
        store<W>(hood.inverse + k, inverse);
        // Adding 1.5 * 2^52 rounds to an integer.
        constexpr double round = 6755399441055744.0;
        const R u = r * tables.inverse_spacing;
        R interval = ((u - 0.5) + round) - round;
        interval = select(interval < last, interval, last);
        interval = select(interval > 0.0, interval, R{});
        store<W>(hood.interval + k, interval);
        store<W>(hood.fraction + k, u - interval);
        store<W>(hood.slope + k, r);
        R value, slope;
        radial_weight(tables, hood.slope + k, value, slope);
        Integer<W> real;
        KML_UNROLL for (int l = 0; l < W; ++l) real[l] = hood.place[k + l] < 0 ? 0 : -1;
        store<W>(hood.cutoff + k, select(real, value, R{}));
        store<W>(hood.slope + k, select(real, slope, R{}));
    }
}

} // namespace
} // namespace kml

#endif
