"""The entry point by which openmm-ml finds this package: ``MLPotential('kml', model='ethanol.safetensors')``.

openmm-ml imports every entry point of the group ``openmmml.potentials`` while it is itself half imported. So this
module imports nothing, neither openmm-ml nor the engine, before a potential is made.
"""


class KMLPotentialImplFactory:
    """Makes the implementation of the potential ``kml`` for openmm-ml."""

    def createImpl(self, name, model=None, **args):
        """Return the `KMLPotentialImpl` of a model.

        Parameters
        ----------
        name : str
            ``kml``.
        model : str, path or KernelPotential
            The weight file.
        **args
            ``positions``, ``inModelOrder`` and ``nThreads``: defaults for those of ``createSystem``; ``baseline``: what
            a Δ-model is the difference to.
        """
        from openmm_kml.interfaces.openmmml_potential import KMLPotentialImpl

        if model is None:
            raise ValueError(f"MLPotential('{name}') needs a weight file: MLPotential('{name}', model='m.safetensors')")
        return KMLPotentialImpl(model, **args)
