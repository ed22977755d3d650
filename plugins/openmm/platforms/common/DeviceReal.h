#ifndef OPENMMKML_DEVICEREAL_H_
#define OPENMMKML_DEVICEREAL_H_

#include "openmm/common/ArrayInterface.h"
#include "openmm/common/ComputeKernel.h"
#include "openmm/common/ComputeVectorTypes.h"
#include <cstddef>
#include <initializer_list>
#include <string>
#include <vector>

namespace OpenMMKML {

/** `kreal` of the compute kernels: the floating-point type that a term is evaluated in, chosen when it is compiled. */
class DeviceReal {
public:
    explicit DeviceReal(bool isDouble) : isDouble(isDouble) {}

    std::string name() const { return isDouble ? "double" : "float"; }
    size_t size() const { return isDouble ? sizeof(double) : sizeof(float); }

    /** Add an argument to a kernel. */
    void add(const OpenMM::ComputeKernel& kernel, double value) const {
        if (isDouble)
            kernel->addArg(value);
        else
            kernel->addArg(float(value));
    }
    /** Add an argument of four numbers. */
    void add(const OpenMM::ComputeKernel& kernel, double x, double y, double z, double w) const {
        if (isDouble)
            kernel->addArg(OpenMM::mm_double4(x, y, z, w));
        else
            kernel->addArg(OpenMM::mm_float4(x, y, z, w));
    }
    void set(const OpenMM::ComputeKernel& kernel, int index, double value) const {
        if (isDouble)
            kernel->setArg(index, value);
        else
            kernel->setArg(index, float(value));
    }

    /** Make an array of `count` elements of one number, or of four. */
    void initialize(OpenMM::ComputeContext& cc, OpenMM::ArrayInterface& array, size_t count, const char* name,
                    int numbersInElement = 1) const {
        array.initialize(cc, count, int(numbersInElement * size()), name);
    }
    /** Fill an array; `values` has all of its numbers. */
    void upload(OpenMM::ArrayInterface& array, const std::vector<double>& values) const {
        if (isDouble)
            array.upload(values.data());
        else
            array.upload(std::vector<float>(values.begin(), values.end()).data());
    }

    const bool isDouble;
};

/** Add arrays, in order, to the arguments of a kernel. */
inline void addArrays(const OpenMM::ComputeKernel& kernel, std::initializer_list<OpenMM::ArrayInterface*> arrays) {
    for (OpenMM::ArrayInterface* array : arrays)
        kernel->addArg(*array);
}

} // namespace OpenMMKML

#endif
