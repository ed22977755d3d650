"""The distribution that a prediction stands for: Student's t of a given standard deviation, normal in the limit.

A scale that is itself uncertain, or that differs from place to place in ways that nobody foresaw, gives errors longer
tails than a normal distribution has: Student's t with ν degrees of freedom, if precisions follow a gamma distribution
(Shah, Wilson and Ghahramani, Student-t processes as alternatives to Gaussian processes, AISTATS 2014; Rasmussen and
Williams, Gaussian Processes for Machine Learning, 2006, section 9.9). Its *tail* is 1/ν: zero is the normal
distribution. With an error of z standard deviations the density is

    p(z) = Γ((ν + 1)/2) / (Γ(ν/2) √(π (ν - 2))) (1 + z²/(ν - 2))^(-(ν + 1)/2)
"""

import math

import numpy as np

LARGEST_TAIL = 1 / 3  # ν = 3: the variance exists, and is not all made by a few errors
_NORMAL = 1e-9  # no tail below can be told from none


def half_width(level, tail=0.0):
    """Return how many standard deviations a central interval reaches to either side.

    Parameters
    ----------
    level : float or ndarray
        Probability of the interval, above 0 and below 1.
    tail : float
        1/ν, from 0 to below 0.5.

    Raises
    ------
    ValueError
        If the level is no such probability.
    """
    from scipy.special import ndtri, stdtrit

    level = np.asarray(level, dtype=float)
    if not ((level > 0) & (level < 1)).all():
        raise ValueError(f"the level of an interval is a probability above 0 and below 1; {level.tolist()} was given")
    upper = 0.5 + 0.5 * level
    if tail < _NORMAL:
        return ndtri(upper)
    return stdtrit(1 / tail, upper) * math.sqrt(1 - 2 * tail)


def log_density(z, tail=0.0):
    """Return ln p of errors in units of their standard deviations.

    Parameters
    ----------
    z : ndarray
    tail : float
        1/ν, from 0 to below 0.5.
    """
    from scipy.special import betaln

    if tail < _NORMAL:
        return -0.5 * np.square(z) - 0.5 * math.log(2 * math.pi)
    nu = 1 / tail
    return -0.5 * (nu + 1) * np.log1p(np.square(z) / (nu - 2)) - betaln(0.5 * nu, 0.5) - 0.5 * math.log(nu - 2)


def describe_tail(tail):
    """Return the kind of distribution in words."""
    return "normal" if tail < _NORMAL else f"Student's t with {1 / tail:.3g} degrees of freedom"
