"""What a weight file and its terms hold, as dictionaries that JSON can write."""

from openmm_kml.elements import formula, symbol


def describe_term(term, elements=None):
    """Return what a term holds, without its large arrays.

    Parameters
    ----------
    term : GDMLTerm, Spline2Term, Spline3Term, RepulsionTerm, WallsTerm or SoapTerm
    elements : sequence of int, optional
        Atomic numbers that the model knows; local terms need them.
    """
    if term.kind == "gdml":
        return _describe_gdml(term)
    described = {"kind": term.kind} | {name: getattr(term, name) for name in term.scalars}
    if term.kind == "repulsion":
        return described | {"potential": "zbl", "switch": term.switch.tolist()}
    if term.kind == "walls":
        return described | {"bounds": term.bounds.tolist()}
    if term.kind == "soap":
        return described | _describe_soap(term, elements)
    described |= {"n_intervals": term.n_intervals, "spacing": term.spacing, "n_coefficients": term.coefficients.size}
    if term.kind == "spline3":
        described |= {"n_intervals_far": term.n_intervals_far, "spacing_far": term.spacing_far}
    return described


def describe_terms(weights, engine):
    """Return `describe_term` of all terms, and of soap terms how the engine evaluates them.

    Parameters
    ----------
    weights : openmm_kml.weights.Weights
    engine : openmm_kml._engine.Engine
        Of the same file.
    """
    evaluated = iter(engine.describe_terms())  # of the soap terms, in the order of the file
    described = []
    for term in weights.terms:
        description = describe_term(term, weights.elements)
        if term.kind == "soap":
            description["engine"] = {name: value for name, value in next(evaluated).items() if name not in description}
        described.append(description)
    return described


def describe_model(weights, engine, file_size):
    """Return what a weight file holds and how the engine evaluates it.

    Parameters
    ----------
    weights : openmm_kml.weights.Weights
    engine : openmm_kml._engine.Engine
        Of the same file.
    file_size : int
        In bytes.
    """
    if engine.species is None:
        atoms = {"elements": [symbol(z) for z in engine.elements], "cutoff": engine.cutoff}
    else:
        atoms = {
            "n_atoms": len(engine.species),
            "formula": formula(engine.species),
            "species": [symbol(z) for z in engine.species],
            "operations_per_evaluation": engine.operations,
        }
    return atoms | {
        "atom_energies": {symbol(z): energy for z, energy in weights.atom_energies.items()},
        "terms": describe_terms(weights, engine),
        "instruction_set": engine.instruction_set,
        "file_size": file_size,
        "provenance": weights.provenance,
    }


def _describe_gdml(term):
    return {
        "kind": term.kind,
        "kernel": term.kernel,
        "power": term.power,
        "length_scale": term.length_scale,
        "energy_offset": term.energy_offset,
        "n_train": len(term.training_descriptors),
        "n_permutations": len(term.permutations),
        "n_entries": len(term.descriptor_weights),
        "energies": term.energy_coefficients is not None,
        "weighted": bool((term.descriptor_weights != 1).any()),
    }


def _describe_soap(term, elements):
    names = [symbol(z) for z in elements]
    channels = [
        {name: weight for name, weight in zip(names, column, strict=True) if weight != 0}
        for column in term.species_weights.T.tolist()
    ]
    return {
        "centers": [name for name, center in zip(names, term.centers, strict=True) if center],
        "channels": channels,
        "n_max": term.n_radial,
        "l_max": term.n_angular - 1,
        "dimension": term.dimension,
        "n_sparse": term.n_sparse,
    }
