/** The cell of a structure, made whole: what fractions of positions refer to. */
#ifndef KML_FRAME_H
#define KML_FRAME_H

namespace kml {

/** Three independent vectors to bin atoms along: the periodic lattice vectors, and unit vectors orthogonal to them. */
struct Frame {
    double vectors[3][3];
    double inverse[3][3]; // fraction a of r is Σ_c r_c inverse[c][a]
    double height[3];     // distance of the planes that bound the cell, Å
    bool periodic[3];
};

/** Set the frame; false when the periodic vectors span no volume (area, length). `pbc` may be NULL, as may `cell`. */
bool make_frame(const double* cell, const int* pbc, Frame& frame);

} // namespace kml

#endif
