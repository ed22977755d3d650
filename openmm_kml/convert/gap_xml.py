"""The XML of GAP potentials: read into plain records, whoever wrote it.

The file is parsed as a stream by expat. Document types and entities are refused, elements that are not needed (the
training data, say) leave nothing in memory, and every count that the file claims is held against what is there before
arrays are made.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from xml.parsers import expat

import numpy as np

from openmm_kml.convert.gap_numbers import read_flag, read_float, read_floats, read_integer
from openmm_kml.convert.gap_records import Draft, GapFile
from openmm_kml.errors import DataError

MAX_DIMENSION = 2**20 + 1
MAX_SPARSE = 10**6
MAX_DESCRIPTORS = 10_000
MAX_DEPTH = 64  # of elements inside each other
MAX_TAG = 2**20  # bytes of one tag
MAX_TEXT = 2**16  # characters of a text that is no array, and of the blanks around one
MAX_COMMAND = 10_000  # characters kept of the command line, which is only a record
_CHUNK = 2**16
_NUMBER = 32  # characters of one number in a text that holds an array


def read_gap(path):
    """Return the `GapFile` of an XML file, with the sparse points of the files beside it.

    Raises
    ------
    DataError
        If the file is damaged, declares a document type or entities, claims counts that it does not hold, or names
        sparse files that are missing, elsewhere, of another size or with another check sum.
    OSError
        If the file cannot be read.
    """
    path = Path(path)
    reader = _Reader(path)
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        reader.parse(stream, digest)
    if not reader.seen:
        raise DataError(f"{path} holds no element GAP_params: it is not a GAP potential of QUIP")
    return replace(reader.file, digest="sha256:" + digest.hexdigest())


class _Reader:
    """Handlers of the parser's events; `stack` holds the names of the open elements."""

    def __init__(self, path):
        self.path, self.file, self.stack = path, GapFile(path), []
        self.seen = self.inside = False
        self.text, self.length, self.limit = None, 0, 0  # of the element that is collected now
        self.draft = None  # the open gpCoordinates
        self.starts = {
            "Potential": self.start_potential,
            "GAP_params": self.start_params,
            "GAP_data": self.start_data,
            "e0": self.start_e0,
            "gpCoordinates": self.start_coordinates,
            "sparseX": self.start_sparse,
            "sparseX_slice": self.start_slice,
        }
        self.ends = {
            "GAP_params": self.end_params,
            "gpCoordinates": self.end_coordinates,
            "theta": self.end_theta,
            "descriptor": self.end_descriptor,
            "sparseX": self.end_sparse,
            "sparseX_slice": self.end_slice,
            "command_line": self.end_command,
        }

    def parse(self, stream, digest):
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self.start, self.end
        parser.CharacterDataHandler = self.characters
        parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = self.refuse_declaration
        parser.ExternalEntityRefHandler = self.refuse_declaration
        fed = 0
        try:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                fed += len(chunk)
                parser.Parse(chunk, False)
                if fed - parser.CurrentByteIndex > MAX_TAG + _CHUNK:
                    raise DataError(
                        f"{self.path}, line {parser.CurrentLineNumber}: a tag is longer than {MAX_TAG} bytes"
                    )
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise DataError(f"{self.path} is not whole XML: {error}") from None

    def refuse_declaration(self, *_):
        raise DataError(f"{self.path} declares a document type or entities; GAP files have none, and none are read")

    def start(self, name, attributes):
        self.stack.append(name)
        if len(self.stack) > MAX_DEPTH:
            raise DataError(f"{self.path} has more than {MAX_DEPTH} elements inside each other; that is no GAP file")
        if name in self.starts and (self.inside or name in ("GAP_params", "Potential")):
            self.starts[name](attributes)
        elif name in ("theta", "descriptor") and self.draft is not None:
            self.collect(MAX_TEXT + (0 if name == "descriptor" else _NUMBER * self.draft.dimension))
        elif name == "command_line" and self.inside:
            self.collect(None)

    def end(self, name):
        self.stack.pop()
        if name in self.ends and self.inside:
            self.ends[name]()

    def characters(self, data):
        if self.text is None:
            return
        if self.limit is None:  # keep the beginning
            data = data[: MAX_COMMAND - self.length]
        elif self.length + len(data) > self.limit:
            raise DataError(f"{self.where(self.stack[-1])} holds more text than it can need")
        self.text.append(data)
        self.length += len(data)

    def collect(self, limit):
        """Keep the text that follows, up to a number of characters."""
        self.text, self.length, self.limit = [], 0, limit

    def collected(self):
        text, self.text = "".join(self.text or ()), None
        return text

    def where(self, name):
        """Return how messages call the element that is open."""
        place = f"descriptor {len(self.file.coordinates) + 1}" if self.draft is not None else "GAP_params"
        return f"{self.path}: {name} of {place}"

    def needed(self, attributes, name):
        if name not in attributes:
            raise DataError(f"{self.where(self.stack[-1])} lacks the attribute {name!r}")
        return attributes[name]

    def integer(self, attributes, name, least, most):
        return read_integer(self.where(name), self.needed(attributes, name), least, most)

    def float(self, attributes, name):
        return read_float(self.where(name), self.needed(attributes, name))

    def start_potential(self, attributes):
        text = attributes.get("init_args", "")
        if len(text) > MAX_TEXT or len(self.file.potentials) > MAX_DESCRIPTORS:
            raise DataError(f"{self.path} describes more potentials than anyone can have meant")
        self.file.potentials += ((attributes.get("label", ""), text),)

    def start_params(self, attributes):
        if self.seen:
            raise DataError(f"{self.path} holds two GAP_params; convert them one by one")
        self.seen = self.inside = True
        self.file.label = attributes.get("label", self.stack[0])
        if "gap_version" in attributes:
            self.file.version = self.integer(attributes, "gap_version", 0, 2**53)

    def end_params(self):
        self.inside = False

    def start_data(self, attributes):
        self.file.has_core = read_flag(self.where("do_core"), attributes.get("do_core", "F"))
        if "e0" in attributes:
            self.file.e0 = self.float(attributes, "e0")

    def start_e0(self, attributes):
        number = self.integer(attributes, "Z", 1, 999)
        self.file.atom_energies[number] = self.float(attributes, "value")

    def start_coordinates(self, attributes):
        if self.draft is not None or len(self.file.coordinates) >= MAX_DESCRIPTORS:
            raise DataError(f"{self.where('gpCoordinates')} stands inside another, or there are too many of them")
        self.draft = Draft()  # for the messages
        if not read_flag(self.where("sparsified"), attributes.get("sparsified", "T")):
            raise DataError(f"{self.where('gpCoordinates')} is not sparsified, which is not supported")
        permutations = (
            self.integer(attributes, "n_permutations", 1, MAX_SPARSE) if "n_permutations" in attributes else 1
        )
        if permutations > 1:
            raise DataError(f"{self.where('n_permutations')} is {permutations}; more than 1 are not supported")
        self.draft = Draft(
            dimension=self.integer(attributes, "dimensions", 1, MAX_DIMENSION),
            n_sparse=self.integer(attributes, "n_sparseX", 1, MAX_SPARSE),
            covariance_type=self.integer(attributes, "covariance_type", 0, 99),
            delta=self.float(attributes, "signal_variance"),
            mean=self.float(attributes, "signal_mean"),
            zeta=self.float(attributes, "zeta") if "zeta" in attributes else None,
            file_name=attributes.get("sparseX_filename"),
            md5=attributes.get("sparseX_md5sum", ""),
        )

    def end_coordinates(self):
        draft = self.draft
        if draft.text is None:
            raise DataError(f"{self.where('gpCoordinates')} lacks the element 'descriptor'")
        self.file.coordinates.append(draft.finished(self.path, self.where("gpCoordinates")))
        self.draft = None

    def end_theta(self):
        if self.draft is not None:
            count = 1 if self.draft.covariance_type == 2 else self.draft.dimension
            self.draft.theta = read_floats(self.where("theta"), self.collected(), count)

    def end_descriptor(self):
        if self.draft is not None:
            self.draft.text = self.collected()

    def end_command(self):
        self.file.command_line = " ".join(self.collected().split())

    def start_sparse(self, attributes):
        draft = self.draft
        if draft is None:
            return
        draft.current = self.integer(attributes, "i", 1, draft.n_sparse)
        if draft.current in draft.weights:
            raise DataError(f"{self.where('sparseX')} has the number {draft.current} twice")
        draft.weights[draft.current] = self.float(attributes, "alpha") * self.float(attributes, "sparseCutoff")
        draft.sliced = read_flag(self.where("sliced"), attributes.get("sliced", "F"))
        draft.point = []
        if draft.file_name is None and not draft.sliced:
            self.collect(_NUMBER * draft.dimension + MAX_TEXT)

    def end_sparse(self):
        draft = self.draft
        if draft is None or draft.file_name is not None:
            return
        if not draft.sliced:
            draft.point.append(read_floats(self.where("sparseX"), self.collected(), draft.dimension))
        point = np.concatenate(draft.point) if draft.point else np.empty(0)
        if len(point) != draft.dimension:
            raise DataError(f"{self.where('sparseX')} {draft.current} holds {len(point)} of {draft.dimension} numbers")
        draft.points[draft.current] = point

    def start_slice(self, attributes):
        draft = self.draft
        if draft is None or draft.file_name is not None or not draft.sliced:
            return
        start, end = (self.integer(attributes, name, 1, draft.dimension) for name in ("start", "end"))
        if start != sum(map(len, draft.point)) + 1 or end < start:
            raise DataError(f"{self.where('sparseX_slice')} runs from {start} to {end}, out of order or with gaps")
        draft.slice = end - start + 1
        self.collect(_NUMBER * draft.slice + MAX_TEXT)

    def end_slice(self):
        if self.draft is not None and self.text is not None:
            self.draft.point.append(read_floats(self.where("sparseX_slice"), self.collected(), self.draft.slice))
