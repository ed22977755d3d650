// Damaged and hostile weight files: the reader refuses or accepts, and never reads out of bounds.
// Worth running with -DKML_SANITIZE=ON. With KML_LIBFUZZER defined, the same target for libFuzzer.
#include "local_driver.h"
#include "sample.h"

#include "kml/potential.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

using namespace kml_tests;

/** Whether the bytes are a weight file. */
static bool reads(const unsigned char* data, size_t size) {
    try {
        kml::read_weight_file(data, size);
        return true;
    } catch (const kml::WeightFileError& error) {
        if (!error.what()[0])
            std::abort(); // a refusal without a reason
        return false;
    }
}

/** Evaluate a molecule of four atoms that stand apart, two of each element where there are two. */
static void evaluate_local(const kml_potential& potential) {
    const double positions[12] = {0, 0, 0, 1.9, 0.2, 0, 0.3, 2.1, 0.1, 1.2, 1.1, 2.3};
    int numbers[4];
    for (size_t i = 0; i < 4; ++i)
        numbers[i] = potential.local.elements[i % potential.local.elements.size()];
    const kml::Structure structure = {4, positions, numbers, nullptr, nullptr};
    kml::LocalEvaluation evaluation;
    double energy, energy_std, forces[12], virial[9], atomic_std[4];
    const auto done = [&] { return evaluate(evaluation, potential.local, forces).reason == kml::Failure::none; };
    const bool members = potential.has_uncertainty();
    if (begin(evaluation, potential.local, structure, members).reason != kml::Failure::none || !done())
        return;
    evaluation.finish(&energy, virial, nullptr);
    kml::check_results(1, 4, &energy, forces, virial);
    if (!members)
        return;
    evaluation.finish_members(potential.local, &energy_std, atomic_std);
    if (evaluation.begin_gradient(potential.local).reason != kml::Failure::none || !done())
        return;
    evaluation.finish(&energy, virial, nullptr);
    kml::check_results(1, 4, &energy_std, forces, virial);
    if (evaluation.begin_member(potential.local, 0).reason == kml::Failure::none)
        done();
}

/** Read the bytes; open and evaluate what is a weight file. Returns whether it is. */
static bool feed(const unsigned char* data, size_t size) {
    if (!reads(data, size))
        return false;
    char error[512] = "";
    kml_potential* potential = kml::open_potential(data, size, nullptr, error, sizeof error);
    if (!potential) {
        if (!error[0])
            std::abort(); // a refusal without a reason
        return true;
    }
    if (potential->is_local()) {
        evaluate_local(*potential);
        kml::close_potential(potential);
        return true;
    }
    const size_t n = potential->species.size();
    std::vector<double> r(3 * n), f(3 * n), v(9);
    for (size_t k = 0; k < 3 * n; ++k)
        r[k] = double((k * 7) % 11) + 0.1 * double(k);
    double energy = 0;
    kml_workspace workspace;
    for (const kml::GDML& term : potential->terms) {
        if (!workspace.reserve(term, 1, 1))
            break;
        double* shared = workspace.shared.data();
        double* own = workspace.own[0].data();
        if (term.begin(1, r.data(), shared).reason != kml::Failure::none)
            break;
        term.clear(1, own);
        for (long p = 0; p < term.n_panels; ++p)
            term.block(1, p, 1, shared, own);
        term.finish(1, r.data(), own, shared, &energy, f.data(), v.data());
    }
    potential->prior.add(1, r.data(), &energy, f.data(), v.data());
    kml::check_results(1, int(n), &energy, f.data(), v.data());
    std::vector<double> force_std(3 * n);
    if (potential->has_uncertainty())
        kml::molecule_std(*potential, workspace, r.data(), &energy, f.data(), v.data(), force_std.data());
    kml::close_potential(potential);
    return true;
}

#ifdef KML_LIBFUZZER

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    feed(data, size);
    return 0;
}

#else

static const char* const words[] = {"0",
                                    "-1",
                                    "1e999",
                                    "18446744073709551615",
                                    "9223372036854775808",
                                    "4294967296",
                                    "null",
                                    "true",
                                    "{}",
                                    "[]",
                                    "\"\"",
                                    "[[[[[[[[",
                                    "NaN",
                                    "\"F64\"",
                                    "1.5",
                                    "\\ud800",
                                    "\\\"",
                                    "gdml",
                                    "\xff",
                                    "}",
                                    "]",
                                    "5e-324"};

// What uncertainty is made of: searched for, since it is a small part of a header.
static const char* const fields[] = {"uncertainty", "members",        "_scale",     "_floor",
                                     "explained",   "prior_variance", "deviations", "\"shape\""};

/** Return where the next name of some field begins in the header, or `at` if none follows. */
static size_t next_field(Random& random, const Bytes& bytes, size_t at, size_t end) {
    const char* name = fields[random.below(sizeof fields / sizeof *fields)];
    const auto found = std::search(bytes.begin() + long(at), bytes.begin() + long(end), name, name + std::strlen(name));
    return size_t(found - bytes.begin()) < end ? size_t(found - bytes.begin()) : at;
}

/** Replace a run of digits, or a random piece, of the header by a word. */
static void change_header(Random& random, Bytes& bytes) {
    uint64_t length;
    std::memcpy(&length, bytes.data(), 8);
    if (length == 0 || length > bytes.size() - 8)
        return;
    size_t at = 8 + random.below(size_t(length)), n = random.below(4);
    if (random.below(2))
        at = next_field(random, bytes, at, size_t(8 + length));
    if (random.below(2)) { // from here to the next number
        while (at < 8 + length && (bytes[at] < '0' || bytes[at] > '9'))
            ++at;
        for (n = 0; at + n < 8 + length && bytes[at + n] >= '0' && bytes[at + n] <= '9'; ++n) {
        }
    }
    n = std::min(n, size_t(8 + length - at));
    const char* word = words[random.below(sizeof words / sizeof *words)];
    bytes.erase(bytes.begin() + long(at), bytes.begin() + long(at + n));
    bytes.insert(bytes.begin() + long(at), word, word + std::strlen(word));
    if (random.below(8)) { // mostly keep the header's length right, to get past it
        length += std::strlen(word) - n;
        std::memcpy(bytes.data(), &length, 8);
    }
}

/** Overwrite a number of a tensor. */
static void change_number(Random& random, Bytes& bytes) {
    const double numbers[] = {0, -1, 1e308, -1e160, 5e-324, HUGE_VAL, std::nan("")};
    uint64_t length;
    std::memcpy(&length, bytes.data(), 8);
    if (length > bytes.size() - 8 || bytes.size() - 8 - length < 8)
        return;
    const size_t begin = size_t(8 + length), count = (bytes.size() - begin) / 8;
    std::memcpy(bytes.data() + begin + 8 * random.below(count), &numbers[random.below(7)], 8);
}

static void mutate(Random& random, Bytes& bytes) {
    if (bytes.size() < 16)
        return;
    const size_t at = random.below(bytes.size());
    switch (random.below(10)) {
    case 0:
        bytes[at] ^= (unsigned char)(1u << random.below(8));
        break;
    case 1:
        bytes[at] = (unsigned char)random.bits();
        break;
    case 2:
        bytes.resize(at);
        break;
    case 3:
        bytes.insert(bytes.begin() + long(at), random.below(16), (unsigned char)random.bits());
        break;
    case 4:
        bytes[random.below(8)] = (unsigned char)random.bits(); // the header's length
        break;
    case 5:
    case 6:
        change_number(random, bytes);
        break;
    default:
        change_header(random, bytes);
    }
}

int main(int argc, char** argv) {
    const long rounds = argc > 1 ? std::atol(argv[1]) : 20000;
    const Bytes seeds[] = {sample().bytes(),
                           sample(2, 1, false, "squared_exponential", 2.0).bytes(),
                           sample(6, 17, true, "matern92", 0.3).bytes(),
                           prior_sample().bytes(),
                           soap_sample().bytes(),
                           soap_sample(true, false, 2.5).bytes(),
                           uncertain_molecule().bytes(),
                           uncertain_molecule(3, 3, 2, false, "matern72").bytes(),
                           uncertain_local().bytes()};
    Random random(2024);
    long opened = 0;
    for (const Bytes& seed : seeds)
        CHECK(feed(seed.data(), seed.size()), "a good file is refused");
    for (long k = 0; k < rounds; ++k) {
        Bytes bytes = seeds[random.below(sizeof seeds / sizeof *seeds)];
        for (size_t m = 1 + random.below(4); m--;)
            mutate(random, bytes);
        bytes.shrink_to_fit(); // so that one byte too many is out of bounds
        opened += feed(bytes.data(), bytes.size());
    }
    std::printf("%ld of %ld damaged files still opened\n", opened, rounds);
    CHECK(rounds < 1000 || (opened > 0 && opened < rounds), "the mutations are too mild or too harsh");
    return finish();
}

#endif
