"""Terms of models, without what their uncertainty is made of."""

from dataclasses import fields, replace

from openmm_kml.reference_uncertainty import member

_OF_UNCERTAINTY = ("deviations", "explained", "prior_variance")


def plain_term(term):
    """Return a term of a local model without uncertainty, so that it can be part of a model of its own."""
    return replace(term, **{entry.name: entry.default for entry in fields(term) if entry.name in _OF_UNCERTAINTY})


def member_weights(weights, s):
    """Return the `Weights` whose energy is the deviation of member s of a model of local terms, fit for a file."""
    deviation = member(weights, s)
    return replace(deviation, terms=tuple(plain_term(term) for term in deviation.terms))
