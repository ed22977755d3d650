"""Terms of models, without what their uncertainty is made of."""

from dataclasses import fields, replace

from openmm_kml.weights import Weights

_OF_UNCERTAINTY = ("deviations", "explained", "prior_variance")


def plain_term(term, **changes):
    """Return a term of a local model without uncertainty, so that it can be part of a model of its own."""
    blank = {entry.name: entry.default for entry in fields(term) if entry.name in _OF_UNCERTAINTY}
    return replace(term, **blank, **changes)


def member_weights(weights, s):
    """Return the `Weights` whose energy is the deviation of member s of a model of local terms."""
    terms = [plain_term(term, coefficients=term.deviations[s]) for term in weights.terms if term.kind != "repulsion"]
    one_body = dict(zip(map(int, weights.elements), weights.uncertainty.atom_energies[s].tolist(), strict=True))
    return Weights(elements=weights.elements, terms=tuple(terms), atom_energies=one_body)
