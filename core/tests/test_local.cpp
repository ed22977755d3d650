// Local terms: environments on every instruction set against the one-item functions, lists of neighbors against a
// search over all images.
#include "check.h"
#include "kml/instruction_set.h"
#include "kml/local_evaluation.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <tuple>

using namespace kml;
using kml_tests::Random;

static WeightFile random_file(Random& random) {
    WeightFile file;
    file.elements = {8, 14};
    file.atom_energies = {{8, -1.5}};
    Spline2Term two = {1.0, 5.0, 9, {}};
    two.coefficients.resize(3 * 9);
    Spline3Term three = {0.8, 3.5, 0.9, false, 1.0, 0.7, 5, 12, {}};
    three.coefficients.resize(2 * 3 * 5 * 5 * 12);
    for (std::vector<double>* values : {&two.coefficients, &three.coefficients})
        for (double& c : *values)
            c = random.uniform(-1, 1);
    for (size_t center = 0; center < 2; ++center)
        for (size_t pair : {0, 2})
            for (size_t a = 0; a < 5; ++a)
                for (size_t b = 0; b < a; ++b)
                    for (size_t m = 0; m < 12; ++m) {
                        double* c = three.coefficients.data() + (center * 3 + pair) * 5 * 5 * 12;
                        c[(a * 5 + b) * 12 + m] = c[(b * 5 + a) * 12 + m];
                    }
    file.spline2.push_back(two);
    file.spline3.push_back(three);
    file.repulsion.push_back({{1.0, 2.0, 1.2, 2.2, 1.1, 1.9}});
    return file;
}

struct Sample {
    int center, n;
    AlignedVector numbers;
    std::vector<int> element;
};

static Sample random_sample(Random& random, int n) {
    Sample s;
    const size_t room = size_t(n + 15) / 8 * 8;
    s.center = int(random.below(2)), s.n = n;
    s.numbers.assign(4 * room, 0.0);
    s.element.assign(room, 0);
    for (size_t k = 0; k < size_t(n); ++k) {
        double square = 0;
        while (square < 0.25 || square > 27) { // some beyond every cutoff, some inside the taper
            square = 0;
            for (size_t c = 0; c < 3; ++c) {
                s.numbers[c * room + k] = random.uniform(-4, 4);
                square += s.numbers[c * room + k] * s.numbers[c * room + k];
            }
        }
        s.numbers[3 * room + k] = square;
        s.element[k] = int(random.below(2));
    }
    return s;
}

/** Energy of an environment by the functions for one pair and for one triple. */
static double plain_energy(const LocalTerms& terms, const Sample& s) {
    const size_t room = s.element.size();
    const auto vector = [&](int k, int c) { return s.numbers[size_t(c) * room + size_t(k)]; };
    const ThreeBody& three = terms.three_body[0];
    double energy = 0, slope;
    for (int k = 0; k < s.n; ++k) {
        const double r = std::sqrt(vector(k, 3));
        const int pair = s.center + s.element[size_t(k)]; // (0,0), (0,1), (1,1)
        energy += 0.5 * two_body(terms.two_body[0], pair, r, slope) + 0.5 * repulsion(terms.repulsion[pair], r, slope);
        for (int j = 0; j < s.n; ++j) { // the first of the pair is j
            const int ej = s.element[size_t(j)], ek = s.element[size_t(k)];
            const double rj = std::sqrt(vector(j, 3));
            if (j == k || ej > ek || (ej == ek && j > k) || r >= three.cutoff || rj >= three.cutoff)
                continue;
            double far = 0, slopes[4];
            for (int c = 0; c < 3; ++c)
                far += (vector(j, c) - vector(k, c)) * (vector(j, c) - vector(k, c));
            far = std::sqrt(far);
            Side first, second;
            if (far > three.taper_start && far < three.cutoff_far && prepare_side(three, rj, first) &&
                prepare_side(three, r, second))
                energy += three_body<2>(three, three_body_function(three, s.center, ej, ek), first, second,
                                        prepare_far<2>(three, far), slopes);
        }
    }
    return energy;
}

static void test_environments(const char* isa) {
    Random random(5);
    const LocalModel model(random_file(random), isa);
    for (int n : {0, 1, 2, 3, 4, 5, 9, 16, 40}) {
        Sample s = random_sample(random, n);
        const size_t room = s.element.size();
        double* x = s.numbers.data();
        AlignedVector scratch(size_t(environment_scratch(n)));
        EnvironmentResult result;
        model.environment(s.center, {n, x, x + room, x + 2 * room, x + 3 * room, s.element.data()}, scratch.data(),
                          result);
        const double expected = plain_energy(model.terms, s);
        CHECK(std::fabs(result.energy - expected) < 1e-12 * (1 + std::fabs(expected)), "%s, %d neighbors: %g, not %g",
              isa, n, result.energy, expected);
    }
}

typedef std::tuple<int, int, int> Entry; // i, j, image

static std::set<Entry> entries(const NeighborList& list) {
    std::set<Entry> found;
    for (long i = 0; i < list.n_atoms; ++i)
        for (long p = list.first[size_t(i)]; p < list.first[size_t(i) + 1]; ++p)
            found.insert(Entry(int(i), list.index[size_t(p)], list.image[size_t(p)]));
    return found;
}

static void make(NeighborList& list, const std::vector<double>& r, const Frame& frame, double reach, double near) {
    CHECK(list.start(long(r.size() / 3), r.data(), frame, reach, near), "the cell is large enough");
    for (long c = 0; c < list.n_chunks(); ++c)
        CHECK(list.search(c), "memory");
    list.finish_search();
    for (long c = 0; c < list.n_chunks(); ++c)
        list.place(c);
    for (long c = 0; c < list.n_chunks(); ++c)
        list.link(c);
}

/** A list with a skin is kept in a cell that is strained a little, and for atoms that jump by lattice vectors. */
static void test_kept(NeighborList& list, const double* cell, const int* pbc, const std::vector<double>& r,
                      double reach, double near) {
    const bool periodic = pbc[0] || pbc[1] || pbc[2];
    for (double scale : {1.001, 0.999, 1.2, 1.0}) {
        double box[9];
        for (size_t k = 0; k < 9; ++k)
            box[k] = scale * cell[k];
        std::vector<double> moved(r);
        for (double& x : moved)
            x *= periodic ? scale : 1.0;
        for (size_t a = 0; a < 3; ++a)
            for (size_t c = 0; c < 3; ++c)
                moved[c] += pbc[a] ? 2 * box[3 * a + c] : 0.0;
        Frame frame;
        CHECK(make_frame(box, pbc, frame), "the cell has a volume");
        // A slab's or a wire's atoms do not follow its cell in all directions: they count as moved by up to 0.02 Å.
        const bool kept = list.follow(long(r.size() / 3), moved.data(), frame, reach, near);
        if (list.skin > 0)
            CHECK(kept == (scale < 1.1 || !periodic), "scaled by %g", scale);
        if (kept)
            for (size_t c = 0; c < 3; ++c) {
                const size_t last = list.shifts.size() / 4 - 1;
                const double zero = list.shifts[c] + list.shifts[4 * last + c];
                CHECK(std::fabs(zero) < 1e-12, "the images are opposite");
            }
    }
}

static void test_list(const double* cell, const int* pbc, size_t n, double reach, double skin) {
    Random random(n);
    std::vector<double> r(3 * n);
    for (double& x : r)
        x = random.uniform(-9, 9);
    Frame frame;
    CHECK(make_frame(cell, pbc, frame), "the cell has a volume");
    NeighborList list;
    list.skin = skin;
    const double near = 0.6 * reach;
    CHECK(!list.follow(long(n), r.data(), frame, reach, near), "a new list");
    make(list, r, frame, reach, near);
    CHECK(list.follow(long(n), r.data(), frame, reach, near), "a made list");
    const std::set<Entry> found = entries(list);
    CHECK(found.size() == list.index.size(), "no entry twice");
    size_t count = 0;
    const size_t images = list.shifts.size() / 4;
    for (size_t i = 0; i < n; ++i)
        for (size_t j = 0; j < n; ++j)
            for (size_t m = 0; m < images; ++m) {
                double square = 0;
                for (size_t c = 0; c < 3; ++c) {
                    const double v = (list.wrapped[4 * j + c] - list.wrapped[4 * i + c]) + list.shifts[4 * m + c];
                    square += v * v;
                }
                if (square >= (reach + skin) * (reach + skin) || (i == j && 2 * m + 1 == images))
                    continue;
                ++count;
                CHECK(found.count(Entry(int(i), int(j), int(m))), "%zu %zu %zu is missing", i, j, m);
            }
    CHECK(count == found.size(), "%zu entries, %zu expected", found.size(), count);
    for (size_t i = 0; i < n; ++i)
        for (long p = list.first_near[i]; p < list.first_near[i + 1]; ++p)
            CHECK(list.reverse[size_t(list.reverse[size_t(p)])] == p, "the reverse of the reverse");
    test_kept(list, cell, pbc, r, reach, near);
    r[0] += 0.51 * skin;
    CHECK(list.follow(long(n), r.data(), frame, reach, near) == (skin == 0), "an atom moved");
}

int main() {
    for (const char* isa : {"baseline", "avx2", "avx512"})
        if (instruction_set(isa))
            test_environments(isa);
    const double triclinic[9] = {6, 0, 0, 2, 5, 0, -1.5, 2, 7}, tiny[9] = {1.5, 0.2, 0, 0, 1.4, 0.3, 0.4, 0, 1.7};
    const int all[3] = {1, 1, 1}, slab[3] = {1, 0, 1}, wire[3] = {0, 0, 1}, none[3] = {0, 0, 0};
    for (const int* pbc : {all, slab, wire, none})
        for (double skin : {0.0, 0.5}) {
            test_list(triclinic, pbc, 20, 4.0, skin);
            test_list(triclinic, pbc, 300, 2.0, skin);
            test_list(tiny, pbc, 2, 5.0, skin);
        }
    const double flat[9] = {5, 0, 0, 0, 5, 0, 5, 5, 0};
    Frame frame;
    CHECK(!make_frame(flat, all, frame), "no volume");
    CHECK(!make_frame(nullptr, all, frame), "no cell");
    CHECK(make_frame(nullptr, nullptr, frame), "no periodicity");
    return kml_tests::finish();
}
