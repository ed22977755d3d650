"""``kml convert`` of GAP potentials: what came over, and how exactly."""

from openmm_kml.cli.common import warn

_EXACT_ENERGY, _EXACT_FORCE = 1e-10, 1e-8  # eV, eV/Å: what is beyond is worth a warning


def convert(args):
    """Return weights, report and a text for the reader."""
    from openmm_kml.convert import convert_gap
    from openmm_kml.elements import SYMBOLS, symbol

    names = args.elements.split(",") if args.elements else []
    unknown = [name for name in names if name not in SYMBOLS[1:]]
    if unknown:
        raise ValueError(f"--elements expects symbols of elements such as Si,O; {unknown[0]} was given")
    weights = convert_gap(args.source, map(SYMBOLS.index, names), args.skip)
    source = weights.provenance["converted_from"]
    for name in source.get("skipped", ()):
        warn(f"{name} was left out: energies and forces are those of the rest alone")
    soap = [term for term in weights.terms if term.kind == "soap"]
    report = {
        "elements": [symbol(z) for z in weights.elements],
        "atom_energies": {symbol(z): energy for z, energy in weights.atom_energies.items()},
        "soap": [_describe(term, weights.elements) for term in soap],
        "pair_error": source.get("pair_error"),
    }
    lines = [f"{args.source}: GAP potential of {' '.join(report['elements'])}"]
    lines += [_line(term) for term in report["soap"]]
    if report["pair_error"]:
        energy, force = report["pair_error"]["energy"], report["pair_error"]["force"]
        lines.append(f"  pair energies as splines, within {energy:.1e} eV and {force:.1e} eV/Å a pair")
        if energy > _EXACT_ENERGY or force > _EXACT_FORCE:
            warn(f"pair energies vary too fast to be kept exactly: they are off by up to {force:.1e} eV/Å")
    return weights, report, "\n".join(lines)


def _describe(term, elements):
    """Return a `soap` term as plain numbers and names."""
    from openmm_kml.elements import symbol

    return {
        "centers": [symbol(z) for z, center in zip(elements, term.centers, strict=True) if center],
        "cutoff": term.cutoff,
        "n_max": term.n_radial,
        "l_max": term.n_angular - 1,
        "zeta": term.zeta,
        "n_sparse": term.n_sparse,
        "dimension": term.dimension,
    }


def _line(term):
    return (
        f"  soap around {' '.join(term['centers'])}: {term['n_sparse']} sparse points, n_max {term['n_max']}, "
        f"l_max {term['l_max']}, zeta {term['zeta']:g}, cutoff {term['cutoff']:g} Å"
    )
