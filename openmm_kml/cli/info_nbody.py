"""``kml info`` of a model of local terms: its grids, and the values of f2 and f3."""

from openmm_kml.cli.common import print_table, write_json

_ROWS = 12  # of the table of f2
_FORMS = {
    "sum": "a sum over sparse points",
    "quadratic": "a quadratic form, whatever the number of sparse points",
    "linear": "a linear form, whatever the number of sparse points",
}


def info_of_local(args, weights):
    """Print, write and draw what a model of local terms holds."""
    from openmm_kml.cli.info import (
        baseline_of,
        print_baseline,
        print_provenance,
        print_uncertainty,
        uncertainty_of,
    )
    from openmm_kml.elements import symbol

    report = {
        "file": str(args.model),
        "bytes": args.model.stat().st_size,
        "elements": [symbol(z) for z in weights.elements],
        "atom_energies": {symbol(z): energy for z, energy in weights.atom_energies.items()},
        "terms": _describe_all(weights),
        "pair_energies": _pair_table(weights),
        "provenance": weights.provenance,
        **baseline_of(weights),
        **uncertainty_of(weights),
    }
    if args.plot is not None:
        from openmm_kml.plots import save_figure
        from openmm_kml.plots_nbody import functions

        save_figure(functions(weights), args.plot)
    write_json(args.json, report)
    _print(report)
    print_uncertainty(report)
    print_baseline(report)
    print_provenance(report["provenance"])


def _describe_all(weights):
    from dataclasses import replace

    from openmm_kml._engine import Engine
    from openmm_kml.term_descriptions import describe_terms
    from openmm_kml.weights import to_bytes

    engine = Engine(to_bytes(replace(weights, baseline=None)))  # it evaluates nothing here
    described = describe_terms(weights, engine)
    return [
        said if term.kind == "soap" else _describe(term, weights.elements)
        for term, said in zip(weights.terms, described, strict=True)
    ]


def _describe(term, elements):
    from openmm_kml.local_terms import RepulsionTerm, Spline3Term

    if isinstance(term, RepulsionTerm):
        return describe_repulsion(term, elements)
    common = {name: getattr(term, name) for name in ("kind", "start", "cutoff", "n_intervals", "spacing")}
    common["n_coefficients"] = term.coefficients.size
    if isinstance(term, Spline3Term):
        common |= {name: getattr(term, name) for name in ("compact", "taper_start", "taper_width", "spacing_far")}
    return common


def describe_repulsion(term, elements):
    """Return a `repulsion` term as names and numbers; `elements` in the order of its pairs."""
    from openmm_kml.elements import symbol

    pairs = [f"{symbol(a)}-{symbol(b)}" for k, a in enumerate(elements) for b in elements[k:]]
    return {"kind": term.kind, "switch": dict(zip(pairs, term.switch.tolist(), strict=True))}


def _pair_table(weights):
    """Return the energies of two atoms at some distances, name of the pair -> list; "r" has the distances."""
    import numpy as np

    from openmm_kml.dimers import dimer_energies
    from openmm_kml.elements import symbol

    reach = max(term.reach for term in weights.terms)
    distances = np.linspace(reach / _ROWS, reach, _ROWS)
    table = {"r": distances.tolist()}
    for k, a in enumerate(weights.elements):
        for b in weights.elements[k:]:
            table[f"{symbol(a)}-{symbol(b)}"] = dimer_energies(weights, a, b, distances)[0].tolist()
    return table


def _print(report):
    print(f"{report['file']}  ({report['bytes'] / 1e3:.0f} kB)")
    print(f"  elements        {' '.join(report['elements'])}")
    print("  one body        " + ", ".join(f"{name} {e:.6f}" for name, e in report["atom_energies"].items()) + " eV")
    for term in report["terms"]:
        if term["kind"] == "repulsion":
            print_repulsion(term)
            continue
        if term["kind"] == "soap":
            _print_soap(term)
            continue
        grid = (
            f"{term['start']:.2f} to {term['cutoff']:.2f} Å, {term['n_intervals']} intervals of {term['spacing']:.3f}"
        )
        print(f"  {term['kind']:<15s} {grid}, {term['n_coefficients']} coefficients")
        if term["kind"] == "spline3":
            kind = "all three sides" if term["compact"] else "the two sides at the center"
            inner = f"{term['taper_start']:.2f} to {term['taper_start'] + term['taper_width']:.2f}"
            print(f"                  cutoff of {kind}; grows from zero over {inner} Å")
    print("\n  energy of two atoms, eV")
    table = report["pair_energies"]
    columns = [("r, Å", [f"{r:.2f}" for r in table["r"]])]
    columns += [(name, [f"{e:.4g}" for e in values]) for name, values in table.items() if name != "r"]
    print_table(
        [[f"  {columns[0][0]}", *(name for name, _ in columns[1:])]]
        + [[f"  {columns[0][1][row]}", *(values[row] for _, values in columns[1:])] for row in range(len(table["r"]))]
    )


def print_repulsion(term):
    switch = ", ".join(f"{name} {low:.2f} to {high:.2f}" for name, (low, high) in term["switch"].items())
    print(f"  repulsion       ZBL, switched off over {switch} Å")


def _print_soap(term):
    channels = ", ".join(
        "+".join(name if weight == 1 else f"{weight:g} {name}" for name, weight in channel.items()) or "none"
        for channel in term["channels"]
    )
    kinds = [word for word, said in (("diagonal in n", term["diagonal_radial"]),) if said]
    kinds += [] if term["normalize"] else ["not normalized"]
    print(f"  soap            around {' '.join(term['centers'])}, neighbors {channels}, cutoff {term['cutoff']:.2f} Å")
    print(f"                  n_max {term['n_max']}, l_max {term['l_max']}, σ {term['atom_sigma']:g} Å, ", end="")
    print(", ".join([f"{term['dimension']} entries", *kinds]))
    print(f"                  {term['n_sparse']} sparse points, zeta {term['zeta']:g}")
    engine = term["engine"]
    print(f"                  evaluated as {_FORMS[engine['form']]}, {engine['reduced_dimension']} entries;")
    operations = engine["kernel_operations"] + engine["other_operations"]
    print(
        f"                  some {operations:.2g} operations an atom, {engine['kernel_operations']:.2g} of the kernel"
    )
