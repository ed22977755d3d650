"""The report of the quickstart: one HTML file with its pictures inside."""

import base64
import platform
from html import escape

import numpy as np

from openmm_kml import __version__, plots, units
from openmm_kml.elements import formula
from openmm_kml.files import write_atomically

KCAL = 1e3 * units.KCAL_PER_MOL  # meV

_STYLE = """
body { font: 17px/1.55 system-ui, sans-serif; color: #222; background: #fff; max-width: 62rem; margin: 2rem auto;
       padding: 0 1.2rem; }
h1 { font-size: 1.9rem; margin-bottom: .2rem; } h2 { font-size: 1.3rem; margin-top: 2.4rem; }
p.sub { color: #666; margin-top: 0; } img { max-width: 100%; height: auto; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { padding: .35rem .9rem; border-bottom: 1px solid #ddd; }
th { text-align: left; font-weight: 600; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
code, pre { background: #f4f4f2; border-radius: 4px; } code { padding: .1rem .3rem; } pre { padding: .8rem 1rem;
overflow-x: auto; } .key { background: #eef3fa; border-left: 4px solid #1f5fa8; padding: .8rem 1.2rem; }
"""


def write_report(path, results):
    """Write the report of the quickstart's `Results` to an HTML file that needs no other file."""
    sections = [
        _summary(results),
        _accuracy(results),
        _learning_curve(results),
        _conservation(results),
        _bonds(results),
        _next_steps(results),
    ]
    name = escape(formula(results.molecule.numbers))
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>openmm_kml quickstart: {name}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )
    write_atomically(path, page.encode())


def _summary(results):
    errors, counts = results.errors, results.counts
    spread = _force_spread(results)
    slope, uncertainty, scatter = results.drift
    seconds = sum(results.seconds.values())
    molecule = escape(formula(results.molecule.numbers))
    return f"""<h1>From reference data to dynamics</h1>
<p class="sub">{molecule}, openmm_kml {__version__}, Python {platform.python_version()}</p>
<div class="key"><p><b>In short.</b> A potential was trained on {counts["n_train"]} geometries with energies and forces
from {escape(results.theory)}. On {counts["n_test"]} geometries that it has never seen it is off by
{1e3 * errors["forces_mae"]:.1f} meV/Å in a force component ({100 * errors["forces_mae"] / spread:.1f} % of a typical
one) and by {1e3 * errors["energy_mae"]:.1f} meV in the energy ({1e3 * errors["energy_mae"] / KCAL:.2f} kcal/mol; 1
kcal/mol counts as chemical accuracy). It then ran {results.langevin.time[-1]:.3g} ps at {_temperature(results)} K and
{results.nve.time[-1]:.3g} ps at constant energy in OpenMM, at {results.langevin.nanoseconds_per_day:.1f} ns a day on
one core. The total energy stayed within {scatter:.2f} meV of a line that drifts by {_drift(slope, uncertainty)}.
All of it took {seconds:.0f} s.</p></div>"""


def _accuracy(results):
    errors = results.errors
    picture = plots.parity(results.test_energies, results.test_forces, results.test_set)
    rows = [
        ("energy, per molecule", errors["energy_mae"], errors["energy_rmse"], "meV"),
        ("energy, per atom", errors["energy_mae_per_atom"], None, "meV"),
        ("force component", errors["forces_mae"], errors["forces_rmse"], "meV/Å"),
    ]
    cells = "".join(
        f'<tr><td>{name}</td><td class="n">{1e3 * mae:.2f}</td>'
        f'<td class="n">{"" if rmse is None else f"{1e3 * rmse:.2f}"}</td><td>{unit}</td></tr>'
        for name, mae, rmse, unit in rows
    )
    chosen = results.fit_report["hyperparameters"]
    symmetries = results.fit_report["symmetries"]
    exchanges = "; ".join(symmetries["exchanges"]) or "no atoms exchange"
    return f"""<h2>How accurate is it?</h2>
<p>Each dot is one test geometry (left) or one force component (right). A perfect model puts all dots on the line.</p>
{_image(picture, "Predicted against reference energies and forces")}
<table><tr><th>error on the test set</th><th>mean absolute</th><th>root mean square</th><th></th></tr>{cells}</table>
<p>The training chose, on {results.counts["n_validation"]} validation geometries: the kernel
<code>{escape(str(chosen["kernel"]))}</code>, descriptor power {chosen["power"]:g}, length scale
{chosen["length_scale"]:.3g}. It found {symmetries["n_permutations"]} permutation symmetries by itself
({escape(exchanges)}), so that one geometry teaches it all copies with these atoms
exchanged.</p>"""


def _learning_curve(results):
    picture = plots.curve(results.curve)
    first, last = results.curve[0], results.curve[-1]
    factor = first["forces_mae"] / last["forces_mae"]
    return f"""<h2>Would more data help?</h2>
<p>The same test geometries, with models trained on fewer points. From {first["n_train"]} to {last["n_train"]} points
the force error fell by a factor of {factor:.1f}. While the curve still goes down, more reference calculations buy
accuracy.</p>
{_image(picture, "Learning curve")}"""


def _conservation(results):
    nve = results.nve
    slope, uncertainty, scatter = results.drift
    picture = plots.conservation(nve.time, nve.potential, nve.kinetic)
    swing = 1e3 * float(np.ptp(nve.potential))
    return f"""<h2>Is energy conserved?</h2>
<p>Without a thermostat the total energy must stay constant; a force that is not the derivative of its energy would heat
or cool the molecule. While the potential energy swings over {swing:.0f} meV, the total energy scatters by
{scatter:.2f} meV (the integrator's own ripple at a time step of 0.5 fs) and drifts by {_drift(slope, uncertainty)}.</p>
{_image(picture, "Energies of the run at constant energy")}"""


def _bonds(results):
    picture = plots.bond_lengths(results.reference_bonds, results.simulated_bonds)
    shifts = {
        kind: results.simulated_bonds[kind].mean() - values.mean() for kind, values in results.reference_bonds.items()
    }
    worst = max(shifts, key=lambda kind: abs(shifts[kind]))
    rows = "".join(
        f'<tr><td>{kind}</td><td class="n">{values.mean():.3f} ± {values.std():.3f}</td><td class="n">'
        f"{results.simulated_bonds[kind].mean():.3f} ± {results.simulated_bonds[kind].std():.3f}</td></tr>"
        for kind, values in results.reference_bonds.items()
    )
    return f"""<h2>Do the bonds look right?</h2>
<p>Bond lengths in the Langevin run against those in the reference data. The largest difference of the means is
{shifts[worst]:+.3f} Å, for {worst}. {_why_bonds_differ(results)}</p>
{_image(picture, "Distribution of bond lengths")}
<table><tr><th>bond</th><th>reference data (Å)</th><th>simulation (Å)</th></tr>{rows}</table>"""


def _why_bonds_differ(results):
    short = f"{results.langevin.time[-1]:.3g} ps of one molecule are a short sample."
    if not results.bundled:
        return f"Shifts are expected where the reference geometries were sampled by other means, and {short}"
    return (
        "Small shifts are expected: the reference geometries were sampled with a cheaper method (GFN2-xTB at 500 K), "
        f"while the simulation follows the energies and forces of the reference method, and {short}"
    )


def _next_steps(results):
    return f"""<h2>What next?</h2>
<ul>
<li>Edit <code>simulate.py</code> and run it again. It is a plain OpenMM script in which one line adds the potential:
<pre>system.addForce(KMLForce("ethanol.safetensors", topology=topology))</pre></li>
<li>Train on data of your own, in extended XYZ or sGDML's .npz:
<pre>kml train gdml YOUR_DATA.xyz -o model.safetensors --n-train 200 --n-valid 100
kml info model.safetensors</pre></li>
<li>See what is in the model of this report: <code>kml info ethanol.safetensors</code></li>
<li>The trajectories <code>langevin.dcd</code> and <code>nve.dcd</code> open together with <code>ethanol.pdb</code> in
VMD, PyMOL, MDAnalysis or MDTraj.</li>
<li>The model knows geometries like those it was trained on: {_temperature(results)} K and below, and no broken bonds.
For anything beyond, add such geometries to the training data.</li>
</ul>"""


def _temperature(results):
    from openmm_kml.quickstart.run import TEMPERATURE

    return f"{TEMPERATURE:.0f}"


def _force_spread(results):
    """Return the mean size of a reference force component on the test set, eV/Å."""
    return float(np.abs(results.test_set.forces).mean())


def _drift(slope, uncertainty):
    """Return a drift in words that claim no more than the run can tell."""
    text = f"{slope:+.1f} ± {uncertainty:.1f} meV per atom and nanosecond"
    return text if abs(slope) > uncertainty else f"{text}, which is none that so short a run could tell"


def _image(figure, description):
    data = base64.b64encode(plots.figure_bytes(figure)).decode()
    return f'<p><img alt="{escape(description)}" src="data:image/png;base64,{data}"></p>'
