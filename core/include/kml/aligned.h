/** Memory aligned to cache lines (and to the widest vectors). */
#ifndef KML_ALIGNED_H
#define KML_ALIGNED_H

#include <cstddef>
#include <new>
#include <vector>

namespace kml {

template <class T>
struct AlignedAllocator {
    using value_type = T;
    AlignedAllocator() = default;
    template <class U>
    AlignedAllocator(const AlignedAllocator<U>&) {}
    T* allocate(size_t n) {
        if (n > size_t(-1) / 2 / sizeof(T))
            throw std::bad_alloc();
        return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64)));
    }
    void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t(64)); }
    template <class U>
    bool operator==(const AlignedAllocator<U>&) const {
        return true;
    }
    template <class U>
    bool operator!=(const AlignedAllocator<U>&) const {
        return false;
    }
};

using AlignedVector = std::vector<double, AlignedAllocator<double>>;

/** Round up to a multiple of 8 doubles: the next array starts on its own cache line. */
constexpr size_t whole_lines(size_t n) { return (n + 7) / 8 * 8; }

} // namespace kml

#endif
