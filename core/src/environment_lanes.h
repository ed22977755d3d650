/** Vectors of the width that KML_WIDTH says, in which one environment is evaluated. */
#ifndef KML_ENVIRONMENT_LANES_H
#define KML_ENVIRONMENT_LANES_H

#include "kml/environment.h"

namespace kml {
namespace {

constexpr int L = KML_WIDTH;
typedef Real<L> R;

KML_INLINE R select(Integer<L> condition, R yes, R no) { return condition ? yes : no; }

} // namespace
} // namespace kml

#endif
