"""`KMLForce`: a kernel potential as a native OpenMM Force.

Importing this module loads the plugin into OpenMM, so that ``openmm.XmlSerializer.deserialize`` knows the type
``KMLForce`` from then on. OpenMM's units (nm, kJ/mol) appear here and in the plugin only.
"""

import ctypes
from dataclasses import replace

from openmm_kml.interfaces._openmm_library import device_warnings, load_library, openmm
from openmm_kml.interfaces.openmm_arguments import (
    as_difference,
    as_indices,
    as_potential,
    check_baseline,
    check_elements,
    is_periodic,
    numbers_for,
)
from openmm_kml.potential import KernelPotential

__all__ = ["KMLForce", "device_warnings", "load_plugin"]


def load_plugin():
    """Make ``KMLForce`` known to OpenMM and its serializer. Happens on import; calling it again does nothing.

    Raises
    ------
    ImportError
        If OpenMM is not of version 8.6, or the plugin was not built.
    """
    load_library()


load_plugin()

_OUTPUTS = ("energy", "uncertainty")  # numbered as KMLForce::Output
_LARGEST_INDEX = 2**31 - 1  # a C int; ctypes would drop the bits above


class KMLForce(openmm.Force):
    """The energy of a kernel potential on all particles of a System, or on some.

    E = scale × E_model, with scale = 1 or a global parameter of the Context. With ``output="uncertainty"`` it is the
    standard deviation of E_model instead, with its gradient as forces: how little the model knows about a structure.
    In a CustomCVForce beside a Force of the energy it makes biased potentials such as ``E - k*sigma``.

    Parameters
    ----------
    potential_or_path : KernelPotential, str or path
        The model. The Force keeps a copy of the whole weight file and needs the file no more.
    particles : sequence of int, optional
        Particle indices, for a model of one molecule in its order of atoms. All particles of the System, in order,
        when omitted.
    scale_parameter : str, optional
        Name of a global parameter that multiplies the energy; its default is 1.
    topology : openmm.app.Topology, optional
        When given, its elements are compared with the model's. For a model of any structure it says the elements,
        and by its box vectors whether the structure is periodic.
    numbers : sequence of int, optional
        For a model of any structure, unless the topology is given: the atomic number of each of the particles.
    periodic : bool, optional
        Whether the model sees the periodic box. By default as the topology has box vectors; a model of one molecule
        needs no box. A model of any structure without a topology must be told.
    n_threads : int, optional
        OpenMP threads of one evaluation. By default one for work below some 500 µs, so that a busy machine does not
        make threads wait for each other, and up to all cores above.
    output : {"energy", "uncertainty"}
        What the energy of the Force is.
    baseline_system : openmm.System, optional
        For a model that is the difference to a baseline: the System to which the Force will be added. Either its forces
        are that baseline and its particles the model's atoms in order; or, where the baseline is a weight file, one of
        its forces is the KMLForce of that file on the same particles.
    baseline_added : bool
        For such a model in a larger System: the statement that the System holds the baseline's energy.

    Raises
    ------
    ValueError
        If the elements are not those of the model; the message names the first atom that differs. If a model of any
        structure is not told the elements, or whether the box is periodic. If `output` is another word.
    WeightFileError
        If the weight file is damaged; if the model is a difference and its baseline is not stated or another one, or if
        a baseline is stated for a model that is the whole energy.
    OpenMMException
        If a particle index is negative or appears twice, or the model has no uncertainty and it is asked for. Whether
        the particles exist, and are as many as the model's atoms, is checked when a Context is created.
    """

    def __init__(
        self,
        potential_or_path,
        particles=None,
        scale_parameter=None,
        *,
        topology=None,
        numbers=None,
        periodic=None,
        n_threads=None,
        output="energy",
        baseline_system=None,
        baseline_added=False,
    ):
        if baseline_system is None and not baseline_added:
            potential = as_potential(potential_or_path)
        else:
            potential = as_difference(potential_or_path)
        if potential.species is None:
            numbers = numbers_for(potential, topology, numbers, particles)
            periodic = is_periodic(topology, periodic)
        elif numbers is not None:
            potential.check_numbers(numbers)
            numbers = None  # the model has its own
        if topology is not None and potential.species is not None:
            check_elements(potential, topology, particles)
        if baseline_system is not None:
            models = _forces_of(baseline_system, potential.baseline.digest)
            check_baseline(potential, baseline_system, models, particles, numbers, periodic, scale_parameter)
        data = potential.to_bytes()
        load_library().put_force_aside(data, len(data))
        # The pointer comes back as one of OpenMM's own proxies, ownership included.
        self.this = openmm.XmlSerializer.deserialize('<Force type="KMLForceHandle"/>').this
        if particles is not None:
            self.setParticles(particles)
        if numbers is not None:
            self.setNumbers(numbers)
        if periodic is not None:
            self.setUsesPeriodicBoundaryConditions(periodic)
        if scale_parameter is not None:
            self.setScaleParameter(scale_parameter)
        self.setNumThreads(n_threads)
        if output != "energy":
            self.setOutput(output)

    @classmethod
    def cast(cls, force):
        """Return `force`, a plain ``openmm.Force`` as ``System.getForce()`` gives it, as the KMLForce that it is.

        Both objects stand for the same Force. Raises ``TypeError`` if it is no KMLForce.
        """
        if not isinstance(force, openmm.Force) or not load_library().is_kml_force(int(force.this)):
            raise TypeError(f"a KMLForce was expected, a {type(force).__name__} was given")
        result = cls.__new__(cls)
        result.this = force.this
        return result

    def getPotential(self):
        """Return the model as a `KernelPotential`."""
        return KernelPotential.from_bytes(self._model())

    def setPotential(self, potential_or_path):
        """Replace the model; existing Contexts follow at `updateParametersInContext`.

        The difference to a baseline can only be replaced by another difference to the same baseline. Raises
        ``OpenMMException`` if the output is "uncertainty" and the new model has none.
        """
        present = self.getPotential().baseline
        potential = as_potential(potential_or_path) if present is None else as_difference(potential_or_path)
        if present is not None and potential.baseline.digest != present.digest:
            replace(potential.baseline, added=False).check_added()
        data = potential.to_bytes()
        load_library().set_model(self._pointer(), data, len(data))

    def getParticles(self):
        """Return the particle indices in the model's order of atoms; an empty tuple means all particles."""
        library, pointer = load_library(), self._pointer()
        return tuple(library.get_particles(pointer)[: library.get_num_particles(pointer)])

    def setParticles(self, particles):
        """Set the particle indices; an empty sequence means all particles."""
        indices = as_indices(particles)
        if indices and max(indices) > _LARGEST_INDEX:
            raise openmm.OpenMMException(f"KMLForce: particle {max(indices)} does not exist")
        load_library().set_particles(self._pointer(), (ctypes.c_int * len(indices))(*indices), len(indices))

    def getNumbers(self):
        """Return the atomic number of each particle; an empty tuple for a model of one molecule, which has its own."""
        library, pointer = load_library(), self._pointer()
        return tuple(library.get_numbers(pointer)[: library.get_num_numbers(pointer)])

    def setNumbers(self, numbers):
        """Set the atomic number of each particle, for a model of any structure."""
        values = [min(number, _LARGEST_INDEX) for number in as_indices(numbers, "numbers")]
        load_library().set_numbers(self._pointer(), (ctypes.c_int * len(values))(*values), len(values))

    def getScaleParameter(self):
        """Return the name of the global parameter that multiplies the energy; empty when there is none."""
        return load_library().get_scale_parameter(self._pointer()).decode()

    def getScaleParameterDefaultValue(self):
        """Return the value that the scale parameter has in a new Context."""
        return load_library().get_scale_default(self._pointer())

    def setScaleParameter(self, name, default_value=1.0):
        """Multiply the energy by the global parameter `name`; an empty name or None removes it."""
        load_library().set_scale_parameter(self._pointer(), (name or "").encode(), default_value)

    def setScaleParameterDefaultValue(self, default_value):
        """Set the value that the scale parameter has in a new Context, and after `updateParametersInContext`."""
        self.setScaleParameter(self.getScaleParameter(), default_value)

    def addEnergyParameterDerivative(self, name):
        """Ask for dE/dscale, which ``State.getEnergyParameterDerivatives()`` then reports, in kJ/mol.

        Offered on the Reference and CPU platforms, and on devices that run the compute kernels (see
        `device_warnings`). Raises ``OpenMMException`` if `name` is not the scale parameter.
        """
        load_library().add_derivative(self._pointer(), str(name).encode())

    def getNumEnergyParameterDerivatives(self):
        """Return 1 if dE/dscale was asked for, else 0."""
        return load_library().has_derivative(self._pointer())

    def getEnergyParameterDerivativeName(self, index):
        """Return the name of the parameter of derivative `index`."""
        if not 0 <= index < self.getNumEnergyParameterDerivatives():
            raise openmm.OpenMMException(f"KMLForce: there is no energy parameter derivative {index}")
        return self.getScaleParameter()

    def getNumThreads(self):
        """Return the number of threads of one evaluation, None when it was left open."""
        return load_library().get_num_threads(self._pointer()) or None

    def setNumThreads(self, n_threads):
        """Set the number of OpenMP threads of one evaluation, at least 1; None leaves it open."""
        if n_threads is not None and n_threads < 1:
            raise openmm.OpenMMException(f"KMLForce: the number of threads is at least 1; {n_threads} was given")
        load_library().set_num_threads(self._pointer(), n_threads or 0)

    def getOutput(self):
        """Return what the energy of the Force is, "energy" or "uncertainty"."""
        return _OUTPUTS[load_library().get_output(self._pointer())]

    def setOutput(self, output):
        """Choose the energy of the model, "energy", or its standard deviation, "uncertainty", as that of the Force.

        The standard deviation is evaluated on the host, also where the energy runs on a device. Raises ``ValueError``
        for another word, ``OpenMMException`` if the model has no uncertainty.
        """
        if output not in _OUTPUTS:
            raise ValueError(f"output must be 'energy' or 'uncertainty'; {output!r} was given")
        load_library().set_output(self._pointer(), _OUTPUTS.index(output))

    def setUsesPeriodicBoundaryConditions(self, periodic):
        """Declare the Force periodic: a model of any structure then sees the periodic box.

        It changes no energy of a model of one molecule, which takes the positions as they are, whole molecules. OpenMM
        keeps them whole; a molecule that a file cuts at a border of the box must be mended first.
        """
        load_library().set_periodic(self._pointer(), bool(periodic))

    def updateParametersInContext(self, context):
        """Bring the model, output, particles, threads, periodicity and scale default of a Context up to date.

        The scale parameter's value in the Context changes only if its default was changed here.

        Raises
        ------
        OpenMMException
            If the new model does not fit the particles (the Context then keeps the old one), or if the name or the
            derivative of the scale parameter changed, which needs a new Context.
        """
        load_library().update_parameters(self._pointer(), int(context.this))

    def _model(self):
        """Return the bytes of the weight file."""
        size = ctypes.c_size_t()
        data = load_library().get_model(self._pointer(), ctypes.byref(size))
        return ctypes.string_at(data, size.value)

    def _pointer(self):
        return int(self.this)


def _forces_of(system, digest):
    """Return the KMLForces of a System whose weight file has this digest."""
    from openmm_kml.interfaces.baseline_kinds import file_digest

    is_model = load_library().is_kml_force
    forces = [KMLForce.cast(force) for force in system.getForces() if is_model(int(force.this))]
    return [force for force in forces if file_digest(force._model()) == digest]
