// The vectorized power against long double.
#include "check.h"
#include "kml/power.h"

#include <cmath>
#include <initializer_list>
#include <limits>

using namespace kml;

template <int L>
static void check_errors() {
    kml_tests::Random random(1);
    alignas(64) double x[L];
    for (double p : {-0.5, 0.2, 0.5, 1.5, 2.7, 9.3, 99.0}) {
        double worst = 0;
        for (int k = 0; k < 20000; ++k) {
            for (double& one : x)
                one = k % 3 ? random.uniform(0, 1) : std::pow(10.0, random.uniform(-2, 2));
            const Real<L> result = raise<L>(load<L>(x), p);
            for (int l = 0; l < L; ++l) {
                const long double exact = powl(x[l], p);
                if (exact > 1e-307L && exact < 1e307L)
                    worst = std::fmax(worst, double(std::fabs((result[l] - exact) / exact)));
            }
        }
        CHECK(worst < (5 + 3 * std::fabs(p)) * 1e-16, "%d lanes, power %g: %g", L, p, worst);
    }
}

int main() {
    check_errors<2>();
    check_errors<4>();
    check_errors<8>();
    const double infinite = std::numeric_limits<double>::infinity();
    alignas(64) const double special[8] = {0.0, -1.0,     -infinite, std::numeric_limits<double>::quiet_NaN(),
                                           1.0, infinite, 1e300,     4.0};
    const Real<8> result = raise<8>(load<8>(special), 1.5);
    for (int k = 0; k < 4; ++k)
        CHECK(result[k] == 0.0, "%g became %g", special[k], result[k]);
    CHECK(result[4] == 1.0, "1 became %g", result[4]);
    CHECK(result[5] == infinite && result[6] == infinite, "%g, %g are finite", result[5], result[6]);
    CHECK(std::fabs(result[7] - 8.0) < 1e-15, "4 became %g", result[7]);
    return kml_tests::finish();
}
