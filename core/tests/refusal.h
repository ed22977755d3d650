/** Files that are to be refused, with words that the sentence must contain. */
#ifndef KML_TESTS_REFUSAL_H
#define KML_TESTS_REFUSAL_H

#include "sample.h"

#include "kml/potential.h"

#include <functional>

namespace kml_tests {

inline std::string refusal(const Bytes& bytes) {
    char error[512] = "";
    kml_potential* potential = kml::open_potential(bytes.data(), bytes.size(), nullptr, error, sizeof error);
    kml::close_potential(potential);
    return potential ? "" : error;
}

inline void refuse(const std::string& expected, const Bytes& bytes) {
    const std::string message = refusal(bytes);
    CHECK(message.find(expected) != std::string::npos, "expected '%s', got '%s'", expected.c_str(), message.c_str());
}

/** Change a good sample, and expect a message. */
inline void refuse(const std::string& expected, Sample s, const std::function<void(Sample&)>& change) {
    change(s);
    refuse(expected, s.bytes());
}

inline void refuse(const std::string& expected, const std::function<void(Sample&)>& change) {
    refuse(expected, sample(), change);
}

template <class T>
inline void put(Sample& s, const std::string& name, size_t index, T value) {
    std::memcpy(s.data.data() + s.at(name) + index * sizeof(T), &value, sizeof(T));
}

} // namespace kml_tests

#endif
