/** What the steps that make a `soap` term ready hand to one another. */
#ifndef KML_SOAP_PREPARATION_H
#define KML_SOAP_PREPARATION_H

#include "kml/soap.h"

#include "soap_radial.h"

#include <utility>
#include <vector>

namespace kml {

/** What is needed only while a term is made ready. */
struct Soap::Preparation {
    RadialNodes nodes;
    std::vector<double> rotation; // (L + 1, N, N): c' = Vᵀ c
    std::vector<double> reach;    // (L + 1, N): largest relative size of a rotated function
    std::vector<double> points;   // (M, D) in the order of the file, rotated, without √2
    std::vector<size_t> order;    // (M): number in the file of each sparse point as they stand in panels
};

/** Pairs (k, k') of one l as the file orders them. */
std::vector<std::pair<int, int>> file_pairs(const SoapTerm& term);

} // namespace kml

#endif
