/** A few lines of test harness: CHECK counts failures, finish() is the exit status. */
#ifndef KML_TESTS_CHECK_H
#define KML_TESTS_CHECK_H

#include <cstdint>
#include <cstdio>

namespace kml_tests {

inline int failures = 0;

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            ++kml_tests::failures;                                                                                     \
            std::printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);                                                \
            std::printf(__VA_ARGS__);                                                                                  \
            std::printf("\n");                                                                                         \
        }                                                                                                              \
    } while (false)

inline int finish() {
    std::printf(failures ? "%d failures\n" : "all passed\n", failures);
    return failures != 0;
}

/** Random numbers, the same everywhere: xorshift64* (Vigna, 2016). */
struct Random {
    uint64_t state;
    explicit Random(uint64_t seed) : state(seed * 0x9E3779B97F4A7C15ull + 1) {}
    uint64_t bits() {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return state * 0x2545F4914F6CDD1Dull;
    }
    double uniform(double low, double high) { return low + (high - low) * double(bits() >> 11) * 0x1p-53; }
    size_t below(size_t n) { return size_t(bits() % n); }
};

} // namespace kml_tests

#endif
