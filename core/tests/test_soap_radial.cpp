// What the radial functions of a `soap` term are made of: Bessel functions, and a rotation that orders samples by size.
#include "../src/soap_radial.h"

#include "check.h"

#include <cmath>
#include <vector>

using namespace kml;
using kml_tests::Random;

namespace {

/** exp(-x) i_l(x) by the differential recurrence's closed forms, and across the borders of the algorithms. */
void test_bessel() {
    for (double x : {0.0, 1e-3, 0.5, 0.999, 1.001, 30.0, 483.9, 484.1, 1e5}) {
        const auto i = scaled_bessel(x, 20);
        const long double z = x, e = std::exp(-2 * z);
        if (x > 0.4) {
            const long double zeroth = (1 - e) / (2 * z), first = ((1 + e) - (1 - e) / z) / (2 * z);
            CHECK(std::fabs(double(i[0] / zeroth - 1)) < 1e-15, "i_0(%g)", x);
            CHECK(std::fabs(double(i[1] / first - 1)) < 1e-14, "i_1(%g)", x);
        }
        for (size_t l = 1; l < 20 && x > 0; ++l) {
            const long double rest = i[l - 1] - i[l + 1] - static_cast<long double>(2 * l + 1) / z * i[l];
            CHECK(std::fabs(double(rest / i[l - 1])) < 1e-14, "recurrence at l = %zu, x = %g", l, x);
        }
    }
    CHECK(scaled_bessel(0, 3)[0] == 1 && scaled_bessel(0, 3)[1] == 0, "at zero");
}

void test_rotation() {
    Random random(6);
    const size_t rows = 30, n = 6;
    std::vector<double> samples(rows * n);
    for (size_t k = 0; k < samples.size(); ++k)
        samples[k] = random.uniform(-1, 1) * std::pow(10.0, -3.0 * double(k % n));
    const std::vector<double> before = samples;
    const std::vector<double> V = order_by_size(samples, n);
    for (size_t a = 0; a < n; ++a)
        for (size_t b = 0; b < n; ++b) {
            double dot = 0, gram = 0, lengths[2] = {};
            for (size_t k = 0; k < n; ++k)
                dot += V[k * n + a] * V[k * n + b];
            for (size_t i = 0; i < rows; ++i) {
                gram += samples[i * n + a] * samples[i * n + b];
                lengths[0] += samples[i * n + a] * samples[i * n + a];
                lengths[1] += samples[i * n + b] * samples[i * n + b];
            }
            CHECK(std::fabs(dot - double(a == b)) < 1e-14, "V is orthogonal");
            CHECK(a == b || std::fabs(gram) < 1e-13 * std::sqrt(lengths[0] * lengths[1]), "columns are orthogonal");
            CHECK(a >= b || lengths[0] >= lengths[1], "columns fall in length");
        }
    for (size_t i = 0; i < rows; ++i)
        for (size_t k = 0; k < n; ++k) {
            double product = 0;
            for (size_t m = 0; m < n; ++m)
                product += before[i * n + m] * V[m * n + k];
            CHECK(std::fabs(product - samples[i * n + k]) < 1e-14, "samples V");
        }
}

} // namespace

int main() {
    test_bessel();
    test_rotation();
    return kml_tests::finish();
}
