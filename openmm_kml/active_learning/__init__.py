"""Learning on the fly: dynamics explores, a reference labels what the model is unsure of, the model is trained anew."""

from openmm_kml.active_learning.campaign import Summary
from openmm_kml.active_learning.learning import learn
from openmm_kml.active_learning.models import Recipe
from openmm_kml.active_learning.settings import Settings
from openmm_kml.interfaces.calculators import load_calculator as load_reference

__all__ = ["Recipe", "Settings", "Summary", "learn", "load_reference"]
