// The vectorized exponential against long double, in units in the last place.
#include "check.h"
#include "kml/aligned.h"
#include "kml/instruction_set.h"

#include <cmath>
#include <limits>

using namespace kml;

static double ulps(double value, long double exact) {
    const double near = double(exact);
    const double ulp = std::nextafter(near, std::numeric_limits<double>::infinity()) - near;
    return double(std::fabs((long double)value - exact) / ulp);
}

int main() {
    const long n = 80000;
    AlignedVector t(n), e(n);
    kml_tests::Random random(1);
    for (const char* name : {"baseline", "avx2", "avx512"}) {
        const InstructionSet* set = instruction_set(name);
        if (!set) {
            std::printf("%s: not on this processor, not tested\n", name);
            continue;
        }
        double worst = 0;
        for (double scale : {1e-8, 1e-3, 0.35, 1.0, 30.0, 707.9}) {
            for (double& x : t)
                x = scale * random.uniform(0, 1);
            set->exp_minus(n, t.data(), e.data());
            for (long k = 0; k < n; ++k)
                worst = std::fmax(worst, ulps(e[k], expl(-(long double)t[k])));
        }
        std::printf("%s: %.3f ulp\n", name, worst);
        CHECK(worst < 1.0, "%s: %g ulp", name, worst);
        const double special[8] = {0.0,
                                   708.0,
                                   709.0,
                                   1e6,
                                   1e300,
                                   std::numeric_limits<double>::infinity(),
                                   std::numeric_limits<double>::quiet_NaN(),
                                   0.5};
        std::copy(special, special + 8, t.begin());
        set->exp_minus(8, t.data(), e.data());
        CHECK(e[0] == 1.0, "exp(0) is %g", e[0]);
        CHECK(e[1] > 3e-308 && e[1] < 4e-308, "exp(-708) is %g", e[1]);
        for (int k = 2; k < 6; ++k)
            CHECK(e[k] == 0.0, "exp(-%g) is %g", special[k], e[k]);
        CHECK(std::isnan(e[6]), "NaN became %g", e[6]);
    }
    return kml_tests::finish();
}
