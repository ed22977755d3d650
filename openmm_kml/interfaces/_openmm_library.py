"""The OpenMM plugin's library: found, checked against OpenMM's version, loaded, and called through ctypes."""

import ctypes
import functools
from pathlib import Path

try:
    import openmm
except ImportError as error:
    raise ImportError("KMLForce needs OpenMM, which is not installed: pip install 'openmm>=8.6,<8.7'") from error

OPENMM_VERSION = (8, 6)
LIBRARY = Path(__file__).parent.parent / "libOpenMMKML.so"

# Each has a small library of its own with compute kernels, loaded where the platform is.
DEVICE_PLATFORMS = ("OpenCL", "CUDA", "HIP")

_ERROR_SIZE = 2048
_POINTER, _TEXT, _INT, _DOUBLE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_double

# Functions of plugins/openmm/capi/kml_openmm.h: result and arguments. Those of CHECKED end in (char*, size_t) for the
# reason of a failure.
_PLAIN = {
    "set_route": (None, [_INT]),
    "get_warning": (_INT, [_INT, _TEXT, ctypes.c_size_t]),
    "is_kml_force": (_INT, [_POINTER]),
    "get_model": (_POINTER, [_POINTER, ctypes.POINTER(ctypes.c_size_t)]),
    "get_num_particles": (_INT, [_POINTER]),
    "get_particles": (ctypes.POINTER(_INT), [_POINTER]),
    "get_num_numbers": (_INT, [_POINTER]),
    "get_numbers": (ctypes.POINTER(_INT), [_POINTER]),
    "get_scale_parameter": (_TEXT, [_POINTER]),
    "get_scale_default": (_DOUBLE, [_POINTER]),
    "has_derivative": (_INT, [_POINTER]),
    "get_num_threads": (_INT, [_POINTER]),
    "get_output": (_INT, [_POINTER]),
    "set_periodic": (None, [_POINTER, _INT]),
}
_CHECKED = {
    "set_engine": [_POINTER],
    "put_force_aside": [_TEXT, ctypes.c_size_t],
    "set_model": [_POINTER, _TEXT, ctypes.c_size_t],
    "set_particles": [_POINTER, ctypes.POINTER(_INT), _INT],
    "set_numbers": [_POINTER, ctypes.POINTER(_INT), _INT],
    "set_scale_parameter": [_POINTER, _TEXT, _DOUBLE],
    "add_derivative": [_POINTER, _TEXT],
    "set_num_threads": [_POINTER, _INT],
    "set_output": [_POINTER, _INT],
    "update_parameters": [_POINTER, _POINTER],
}


class PluginLibrary:
    """The plugin's C functions as methods; what fails in them raises ``OpenMMException``."""

    def __init__(self, path):
        library = ctypes.CDLL(str(path))
        for name, (result, arguments) in _PLAIN.items():
            function = getattr(library, f"kml_openmm_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)
        for name, arguments in _CHECKED.items():
            function = getattr(library, f"kml_openmm_{name}")
            function.restype, function.argtypes = _INT, [*arguments, _TEXT, ctypes.c_size_t]
            setattr(self, name, functools.partial(_call, function))


def _call(function, *arguments):
    error = ctypes.create_string_buffer(_ERROR_SIZE)
    if function(*arguments, error, _ERROR_SIZE):
        raise openmm.OpenMMException(error.value.decode("utf-8", "replace"))


def check_version():
    """Raise ``ImportError`` unless OpenMM has the version that the plugin was compiled for.

    OpenMM's binary interface differs between minor versions; a library built for another one crashes without a word.
    """
    found = openmm.version.short_version
    if tuple(found.split(".")[:2]) != tuple(map(str, OPENMM_VERSION)):
        expected = ".".join(map(str, OPENMM_VERSION))
        raise ImportError(
            f"KMLForce was built for OpenMM {expected}, OpenMM {found} is installed: pip install 'openmm=={expected}.*'"
        )


def device_library(platform):
    """Return the path of the library with the compute kernels of a platform."""
    return LIBRARY.with_name(f"{LIBRARY.stem}{platform}.so")


def _load_device_libraries():
    """Load the compute kernels of the platforms that OpenMM has; return a sentence for each that fails."""
    platforms = {openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())}
    failures = []
    for name in DEVICE_PLATFORMS:
        if name in platforms:
            try:
                openmm.Platform.loadPluginLibrary(str(device_library(name)))
            except openmm.OpenMMException as error:
                failures.append(f"the compute kernels for {name} cannot be loaded, the host evaluates: {error}")
    return failures


def device_warnings():
    """Return why devices are not used although OpenMM has their platform; empty when all is well."""
    library = load_library()
    sentences = list(library.load_warnings)
    text = ctypes.create_string_buffer(_ERROR_SIZE)
    index = 0
    while library.get_warning(index, text, _ERROR_SIZE):
        sentences.append(text.value.decode("utf-8", "replace"))
        index += 1
    return tuple(sentences)


@functools.cache
def load_library():
    """Load the plugin into OpenMM, once a process, hand it the engine, and return its `PluginLibrary`.

    Raises
    ------
    ImportError
        If OpenMM has another version, or the plugin was not built.
    """
    check_version()
    if not LIBRARY.exists():
        raise ImportError(f"the OpenMM plugin is missing ({LIBRARY.name}): reinstall with pip install openmm_kml")
    from openmm_kml import _engine

    openmm.Platform.loadPluginLibrary(str(LIBRARY))
    library = PluginLibrary(LIBRARY)
    library.load_warnings = _load_device_libraries()
    capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    capsule_pointer.restype, capsule_pointer.argtypes = _POINTER, [ctypes.py_object, _TEXT]
    library.engine = _engine.engine_api()  # keeps the capsule; the table itself is static
    library.set_engine(capsule_pointer(library.engine, b"openmm_kml.engine_api"))
    return library
