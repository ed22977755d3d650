# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The host engine: evaluation loops over blocks of training points or over atoms, without the GIL, in OpenMP threads.

Results depend on the model, the positions, the number of threads and the instruction set only: each thread takes a
fixed range of blocks into sums of its own, and these are added in the order of the threads.
"""

import numpy as np

from openmm_kml.errors import EvaluationError, WeightFileError

from cpython.pycapsule cimport PyCapsule_New
from cython.parallel cimport prange
from libc.stddef cimport size_t
from libc.string cimport memset
from libcpp.vector cimport vector

include "core.pxi"

cdef enum:
    ERROR_SIZE = 512

cdef const char* NO_UNCERTAINTY = b"this model has no uncertainty: train it again, or evaluate its energy alone"

# The loops, without the GIL.
include "molecule.pxi"
include "structure.pxi"
include "uncertainty.pxi"
include "function_table.pxi"

# What Python sees.
include "arguments.pxi"
include "handle.pxi"
include "engine.pxi"
include "soap_training.pxi"
