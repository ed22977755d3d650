"""GAP files made here, and their energies by QUIP's formulas written once more, in another way than the package's.

The power spectrum is summed over pairs of neighbors with Legendre polynomials (the addition theorem), so no spherical
harmonics and no expansion coefficients appear; overlaps of radial functions are integrated numerically.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from scipy.special import eval_legendre, spherical_in

from openmm_kml.neighbors import neighbor_list

NEW = 1769700636  # a version of today; others in tests are of their time


@dataclass
class Descriptor:
    """One gpCoordinates: its text and the Gaussian process on it."""

    text: str
    points: np.ndarray
    alpha: np.ndarray
    cutoffs: np.ndarray = None
    delta: float = 0.7
    mean: float = 0.0
    zeta: float | None = None  # of a dot product
    theta: float | None = None  # of a squared exponential
    attributes: dict = field(default_factory=dict)  # instead of those above

    @property
    def weights(self):
        return self.alpha if self.cutoffs is None else self.alpha * self.cutoffs


def soap_text(**options):
    """Return the text of a small soap descriptor; options replace its own."""
    options = {"n_max": 3, "l_max": 2, "cutoff": 3.6, "cutoff_transition_width": 0.6, "atom_sigma": 0.5} | options
    return "soap " + " ".join(f"{key}={value}" for key, value in options.items())


def soap(rng, version=NEW, n_sparse=5, zeta=4.0, sigma0=0.0, species=None, center=None, delta=0.7, mean=0.0, **options):
    """Return a random soap `Descriptor`; of several `species`, around `center`."""
    if species is not None:
        options |= {"n_species": len(species), "species_Z": "{" + " ".join(map(str, species)) + " }"}
    if center is not None:
        options |= {"Z": center}
    if sigma0:
        options |= {"covariance_sigma0": sigma0}
    text = soap_text(**options)
    soap = Soap(text, version)
    points = []
    for _ in range(n_sparse):
        vectors = rng.normal(size=(6, 3))
        vectors *= rng.uniform(1.6, 3.4, (6, 1)) / np.linalg.norm(vectors, axis=1, keepdims=True)
        numbers = rng.choice(species or [14], size=7)
        points.append(soap(numbers[0], numbers[1:], vectors))
    points = np.array(points)
    scale = 1 if soap.normalise else np.linalg.norm(points[0]) ** (2 * zeta)
    alpha = rng.normal(0, 3.0 / scale, n_sparse)
    return Descriptor(text, points, alpha, rng.uniform(0.5, 1, n_sparse), delta, mean, zeta=zeta)


def pair(rng, first=14, second=14, n_sparse=8, theta=0.8, mean=0.0, cutoff=3.9, width=0.7):
    """Return a random distance_2b `Descriptor`."""
    text = f"distance_2b cutoff={cutoff} cutoff_transition_width={width} Z1={first} Z2={second} theta_uniform={theta}"
    points = np.linspace(0.9, cutoff, n_sparse)[:, None]
    return Descriptor(text, points, rng.normal(0, 1, n_sparse), delta=1.3, mean=mean, theta=theta)


def options_of(text):
    """Return the options of a text without braces inside values."""
    words = text.replace("{ ", "{").replace(" }", "}")
    inside, parts = False, [""]
    for character in words:
        inside = (inside or character == "{") and character != "}"
        if character == " " and not inside:
            parts.append("")
        elif character not in "{}":
            parts[-1] += character
    return dict(part.split("=") for part in parts[1:] if part)


def cosine(r, cutoff, width):
    falling = (1 + np.cos(np.pi * (r - cutoff + width) / width)) / 2
    return np.where(r > cutoff, 0.0, np.where(r > cutoff - width, falling, 1.0))


class Soap:
    """The soap vector of one environment, with QUIP's radial basis of equispaced Gaussians."""

    def __init__(self, text, version):
        given = options_of(text)
        number = {key: float(value) for key, value in given.items() if key not in ("species_Z", "normalise", "Z")}
        self.cutoff, self.width = number["cutoff"], number["cutoff_transition_width"]
        self.n_max, self.l_max = int(number["n_max"]), int(number["l_max"])
        self.alpha = 1 / (2 * number["atom_sigma"] ** 2)
        self.central_weight, self.sigma0 = number.get("central_weight", 1.0), number.get("covariance_sigma0", 0.0)
        self.exponent, self.scale = number.get("cutoff_dexp", 0), number.get("cutoff_scale", 1.0)
        self.rate = number.get("cutoff_rate", 1.0)
        self.normalise = given.get("normalise", "T") == "T"
        self.species = [int(z) for z in given.get("species_Z", "0").split()]
        self.centers = [int(z) for z in given.get("Z", "0").split()]
        self.everywhere = version < 1426512068 or len(self.species) == 1
        self.angular = np.array(
            [1 / np.sqrt(2 * k + 1) if version >= 1423143769 else 1.0 for k in range(self.l_max + 1)]
        )
        reach = self.cutoff + number["atom_sigma"] * np.sqrt(2 * number.get("basis_error_exponent", 10) * np.log(10))
        self.nodes = np.arange(self.n_max) * reach / self.n_max
        r, w = np.polynomial.legendre.leggauss(400)
        r, w = 10 * (r + 1), 10 * w  # the Gaussians end long before 20 Å
        gaussians = np.exp(-self.alpha * (r - self.nodes[:, None]) ** 2)
        lower = np.linalg.cholesky((gaussians * (w * r**2)) @ gaussians.T)
        self.transform = np.linalg.solve(np.exp(-self.alpha * (self.nodes - self.nodes[:, None]) ** 2), lower)

    def radial(self, r):
        """Return R_nl of shape (len(r), l, n), without cutoff and decay."""
        x = 2 * self.alpha * r[:, None] * self.nodes
        damping = np.exp(-self.alpha * (r[:, None] ** 2 + self.nodes**2))
        bessel = [spherical_in(k, x) for k in range(self.l_max + 1)]
        return np.stack([(damping * b) @ self.transform for b in bessel], axis=1)

    def __call__(self, center, numbers, vectors):
        r = np.linalg.norm(vectors, axis=1)
        near = r < self.cutoff
        r, numbers, directions = r[near], np.asarray(numbers)[near], vectors[near] / r[near, None]
        weight = cosine(r, self.cutoff, self.width)
        if self.exponent:
            decay = (r / self.scale) ** self.exponent
            weight = weight * ((self.rate or 1.0) / (self.rate + decay))
        radial = weight[:, None, None] * self.radial(r)
        own = self.radial(np.zeros(1))[0] * self.central_weight  # of the center: only l = 0 is not zero
        cosines = np.clip(directions @ directions.T, -1, 1)
        # One row for each neighbor and one for the center; the center is in the same direction as everything for l = 0.
        radial = np.concatenate([radial, own[None]])
        spectrum = []
        for k in range(self.l_max + 1):
            angle = np.zeros((len(r) + 1, len(r) + 1))
            angle[:-1, :-1] = eval_legendre(k, cosines)
            if k == 0:
                angle[:] = 1
            channels = []
            for z in self.species:
                held = np.append((numbers == z) | (z == 0), self.everywhere or z in (0, center))
                channels.append(radial[:, k] * held[:, None])
            all_radial = np.concatenate(channels, axis=1)
            spectrum.append((2 * k + 1) / (4 * np.pi) * self.angular[k] * all_radial.T @ angle @ all_radial)
        spectrum = np.array(spectrum)
        rows = [
            spectrum[:, a, b] * (1 if a == b else np.sqrt(2)) for a in range(spectrum.shape[1]) for b in range(a + 1)
        ]
        vector = np.concatenate(rows)
        return np.append(vector / np.linalg.norm(vector) if self.normalise else vector, self.sigma0)


def gap_energy(descriptors, e0, version, positions, numbers, cell, pbc):
    """Return the energy in eV by QUIP's formulas; e0 is a function of the atomic number."""
    numbers = np.asarray(numbers)
    energy = sum(e0(z) for z in numbers)
    for descriptor in descriptors:
        if descriptor.text.startswith("distance_2b"):
            energy += _pairs(descriptor, positions, numbers, cell, pbc)
            continue
        soap = Soap(descriptor.text, version)
        i, j, _, vectors, _ = neighbor_list(positions, cell, pbc, soap.cutoff)
        for atom, z in enumerate(numbers):
            if soap.centers == [0] or z in soap.centers:
                p = soap(z, numbers[j[i == atom]], vectors[i == atom])
                kernel = (descriptor.points @ p) ** descriptor.zeta
                energy += descriptor.delta**2 * descriptor.weights @ kernel
    return energy


def pair_energy(descriptor, r):
    """Return the energy of an unordered pair that the descriptor holds: both orders of it."""
    options = {key: float(value) for key, value in options_of(descriptor.text).items()}
    kernel = descriptor.delta**2 * np.exp(-((r[:, None] - descriptor.points[:, 0]) ** 2) / (2 * descriptor.theta**2))
    values = (kernel + descriptor.mean**2) @ descriptor.weights
    return 2 * cosine(r, options["cutoff"], options["cutoff_transition_width"]) * values


def _pairs(descriptor, positions, numbers, cell, pbc):
    options = {key: float(value) for key, value in options_of(descriptor.text).items()}
    first, second = options["Z1"], options["Z2"]
    i, j, _, _, r = neighbor_list(positions, cell, pbc, options["cutoff"])
    a, b = numbers[i], numbers[j]
    held = (np.isin(first, (0,)) | (a == first)) & ((second == 0) | (b == second))
    held |= ((first == 0) | (b == first)) & ((second == 0) | (a == second))
    return 0.5 * pair_energy(descriptor, r[held]).sum()


def write_gap(folder, descriptors, e0=None, version=NEW, form="files", potential="IP GAP label=GAP_T", data=None):
    """Write ``gap.xml`` and its sparse files; return the path of the XML.

    Parameters
    ----------
    folder : Path
    descriptors : list of Descriptor
    e0 : dict, optional
        Atomic number -> eV, as elements.
    version : int or None
        None leaves the attribute away.
    form : str
        Of the sparse points: "files", "text" or "slices".
    potential : str or None
        init_args of the Potential element; None leaves the element away.
    data : str, optional
        Attributes of GAP_data.
    """
    lines = ["<GAP_T>"]
    if potential is not None:
        lines.append(f'<Potential label="GAP_T" init_args="{potential}"/>')
    lines.append('<GAP_params label="GAP_T"' + (">" if version is None else f' gap_version="{version}">'))
    data = data or 'do_core="F"'
    lines.append(f"<GAP_data {data}>")
    lines += [f'<e0 Z="{z}" value="{value:.17E}"/>' for z, value in (e0 or {}).items()]
    lines.append(f'</GAP_data><gpSparse label="GAP_T" n_coordinate="{len(descriptors)}" fitted="T">')
    for number, descriptor in enumerate(descriptors, 1):
        lines += _coordinates(folder, number, descriptor, form)
    lines += [
        "</gpSparse><command_line><![CDATA[ at_file=x.xyz gap={a < b} ]]></command_line>",
        "</GAP_params></GAP_T>",
    ]
    path = folder / "gap.xml"
    path.write_text("\n".join(lines))
    return path


def _coordinates(folder, number, descriptor, form):
    n_sparse, dimension = descriptor.points.shape
    attributes = {
        "label": f"GAP_T{number}",
        "dimensions": dimension,
        "signal_variance": f"{descriptor.delta:.17g}",
        "signal_mean": f"{descriptor.mean:.17g}",
        "sparsified": "T",
        "n_permutations": 1,
        "covariance_type": 1 if descriptor.theta else 2,
        "n_sparseX": n_sparse,
    }
    if descriptor.zeta is not None and form != "slices":  # the oldest files had it in theta
        attributes["zeta"] = f"{descriptor.zeta:.17g}"
    if form == "files":
        path = folder / f"gap.xml.sparseX.GAP_T{number}"
        np.savetxt(path, descriptor.points.ravel(), fmt="%.20e")
        attributes["sparseX_filename"] = path.name
        attributes["sparseX_md5sum"] = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    attributes = {key: value for key, value in (attributes | descriptor.attributes).items() if value is not None}
    yield "<gpCoordinates " + " ".join(f'{key}="{value}"' for key, value in attributes.items()) + ">"
    if descriptor.theta or form == "slices":
        yield f"<theta> {descriptor.theta or descriptor.zeta:.17E} </theta>"
    yield f'<descriptor>{descriptor.text}</descriptor><permutation i="1"> 1 </permutation>'
    cutoffs = np.ones(n_sparse) if descriptor.cutoffs is None else descriptor.cutoffs
    for k in range(n_sparse)[::-1]:  # the order of the elements means nothing
        head = f'<sparseX i="{k + 1}" alpha="{descriptor.alpha[k]:.17g}" sparseCutoff="{cutoffs[k]:.17g}"'
        words = [f"{x:.17g}" for x in descriptor.points[k]]
        if form == "files":
            yield head + "/>"
        elif form == "text":
            yield f"{head}>{' '.join(words)}</sparseX>"
        else:
            starts = range(0, dimension, 7)
            slices = [_slice(a + 1, words[a : a + 7]) for a in starts]
            yield f'{head} sliced="T">' + "\n".join(slices) + "</sparseX>"
    yield "</gpCoordinates>"


def _slice(start, words):
    return f'<sparseX_slice start="{start}" end="{start + len(words) - 1}">{" ".join(words)}</sparseX_slice>'
