"""Cost of soap terms in CPU microseconds an atom, and what takes it: silicon at room temperature, one thread.

    python benchmarks/soap_evaluation.py [--model FILE] [--repeat 4] [--isa avx2] [--seconds 2]

Without a weight file the sparse points are spectra of random environments with random coefficients; the cost does not
depend on the numbers, but on how many radial functions they need. The stages are differences between models, measured
in turns: one of a single sparse point and a single radial function (list of neighbors, gathering, sums), one with eight
sparse points (also density, power spectrum and the way back), and the whole one (also the kernel and its derivative).
The rate of the kernel stands beside that of NumPy's product of the same matrices. Then the cost by the largest l, by
the power of the kernel, by the number of sparse points and by the number of elements.
"""

import argparse
import statistics
import time

import numpy as np

from openmm_kml._engine import Engine, SoapTrainingEngine
from openmm_kml.descriptors.soap import soap_descriptor
from openmm_kml.weights import SoapTerm, Weights, from_bytes, load, to_bytes

LATTICE = 5.43  # Å
THERMAL = 0.08  # Å, the rms displacement of silicon's atoms along an axis at some 300 K
STEP = 0.0045  # Å, how far an atom of silicon goes in 1 fs at 300 K, along an axis
ELEMENTS = (6, 14, 22, 32, 50)


def silicon(repeat, elements, rng):
    """Return positions (n, 3), atomic numbers and cell of a crystal of 8 repeat³ atoms, displaced at random."""
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    basis = np.concatenate([fcc, fcc + 0.25])
    corners = np.stack(np.meshgrid(*[np.arange(repeat)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    positions = LATTICE * (corners + basis).reshape(-1, 3)
    positions += rng.normal(0, THERMAL, positions.shape)
    return positions, rng.choice(elements, len(positions)), LATTICE * repeat * np.eye(3)


def model(elements, n_max, l_max, n_sparse, zeta, rng):
    """Return a weight file whose sparse points are spectra of random environments."""
    descriptor = soap_descriptor(elements, n_max=n_max, l_max=l_max)
    empty = descriptor.term(zeta, np.ones((1, descriptor.dimension)), np.ones(1))
    spectra, count = [], 0
    engine = SoapTrainingEngine(to_bytes(Weights(elements=elements, terms=(empty,))))
    while count < n_sparse:
        positions, numbers, cell = silicon(2, elements, rng)
        positions += rng.normal(0, 0.3, positions.shape)
        spectra.append(engine.soap_descriptors(positions, numbers, cell, True)[1])
        count += len(positions)
    points = np.concatenate(spectra)[:n_sparse]
    term = descriptor.term(zeta, points, rng.normal(0, 80, n_sparse))
    return to_bytes(Weights(elements=elements, terms=(term,)))


def with_few_points(data):
    """Return the same model with eight sparse points: what is not the kernel."""
    rng = np.random.default_rng(0)
    term = data.terms[0]
    return SoapTerm(**{**vars(term), "sparse_points": term.sparse_points[:8], "coefficients": rng.normal(0, 80, 8)})


def measure(engines, structure, seconds, rng):
    """Return the median CPU microseconds an atom of each engine; they take turns on one trajectory."""
    positions, numbers, cell = structure
    velocity = rng.normal(0, STEP, positions.shape)
    times = [[] for _ in engines]
    for engine in engines:
        engine.evaluate_structure(positions, numbers, cell, True)
    end = time.perf_counter() + seconds * len(engines)
    while time.perf_counter() < end or len(times[0]) < 10:
        # Atoms of a crystal swing: the way back begins before they have gone far.
        positions = positions + velocity * np.cos(0.08 * len(times[0]))
        for engine, own in zip(engines, times, strict=True):
            start = time.process_time()
            engine.evaluate_structure(positions, numbers, cell, True)
            own.append(time.process_time() - start)
    return [1e6 / len(positions) * statistics.median(own) for own in times]


def product_rate(n_atoms, dimension, n_sparse):
    """Return the Gflop/s of NumPy's products of the kernel and its derivative; medians of CPU time."""
    p, x = np.ones((n_atoms, dimension)), np.ones((n_sparse, dimension))
    times = []
    for _ in range(30):
        start = time.process_time()
        k = p @ x.T
        k @ x
        times.append(time.process_time() - start)
    return 4e-9 * n_atoms * dimension * n_sparse / statistics.median(times)


def report_stages(data, repeat, isa, seconds, rng):
    """Print the stages of one model, and the rate of its kernel."""
    elements = [int(z) for z in data.elements]
    structure = silicon(repeat, elements, rng)
    term = next(term for term in data.terms if isinstance(term, SoapTerm))
    alone = Weights(elements=data.elements, terms=(term,))
    few = Weights(elements=data.elements, terms=(with_few_points(alone),))
    bare = soap_descriptor(elements, cutoff=term.cutoff, n_max=1, l_max=0).term
    one = Weights(
        elements=data.elements, terms=(bare(4.0, np.ones((1, len(elements) * (len(elements) + 1) // 2)), [0.0]),)
    )
    engines = [Engine(to_bytes(weights), isa) for weights in (one, few, alone)]
    listing, density, total = measure(engines, structure, seconds, rng)
    info = engines[2].describe_terms()[0]
    print(
        f"{len(structure[0])} atoms, {engines[2].instruction_set}, {info['n_sparse']} sparse points, zeta {term.zeta:g}"
    )
    print(f"  {info['dimension']} entries, {info['reduced_dimension']} as evaluated; radial functions {info['ranks']}")
    print(f"  list, gathering, sums               {listing:8.2f} µs/atom")
    print(f"  density, power spectrum, way back   {density - listing:8.2f}")
    print(f"  kernel and its derivative ({info['form']})   {total - density:8.2f}")
    print(f"  all                                 {total:8.2f}")
    rate = 1e-3 * info["kernel_operations"] / (total - density)
    if info["form"] == "sum":
        dgemm = product_rate(len(structure[0]), info["reduced_dimension"], info["n_sparse"])
        print(f"  kernel {rate:.0f} Gflop/s; products of NumPy {dgemm:.0f} Gflop/s: {100 * rate / dgemm:.0f} %")


def report_series(title, cases, repeat, isa, seconds, rng):
    """Print the cost of some models, {label: arguments of model()}."""
    print(title)
    for label, arguments in cases.items():
        engine = Engine(model(*arguments, rng), isa)
        (cost,) = measure([engine], silicon(repeat, arguments[0], rng), seconds, rng)
        info = engine.describe_terms()[0]
        print(f"  {label:>6} {cost:8.2f} µs/atom   {info['reduced_dimension']:6d} entries, {info['form']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="weight file with a soap term; random sparse points otherwise")
    parser.add_argument("--repeat", type=int, default=4, help="unit cells along each axis")
    parser.add_argument("--isa", help="avx512, avx2 or baseline; the best otherwise")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each model")
    parser.add_argument("--stages", action="store_true", help="the stages alone")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    one = (14,)
    data = load(args.model) if args.model else from_random(one, rng)
    report_stages(data, args.repeat, args.isa, args.seconds, rng)
    if args.stages:
        return
    shared = args.repeat, args.isa, args.seconds, rng
    report_series("largest l", {str(n): (one, 8, n, 500, 4.0) for n in (2, 4, 6, 8, 10, 12)}, *shared)
    report_series("power of the kernel", {str(z): (one, 8, 8, 500, z) for z in (1.0, 2.0, 3.0, 4.0, 2.5)}, *shared)
    report_series("sparse points", {str(m): (one, 8, 8, m, 4.0) for m in (100, 500, 1000, 2000, 5000)}, *shared)
    report_series("elements", {str(n): (ELEMENTS[:n], 8, 8, 500, 4.0) for n in (1, 2, 3, 4, 5)}, *shared)


def from_random(elements, rng):
    """Return the model that the stages are measured on when no file is given."""
    return from_bytes(model(elements, 8, 8, 500, 4.0, rng))


if __name__ == "__main__":
    main()
