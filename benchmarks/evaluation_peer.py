"""Time the predictors of the sgdml package on demand; started by evaluation.py with a Python that has it.

Reads one JSON request on each line of the standard input, answers one line each:

    {"load": "model.npz"}                          -> {"routes": [...], "energies": [...], "forces": [...]}
    {"time": route, "seconds": 0.02, "batch": 1}   -> {"seconds": fastest call of about that time}

One thread, by the environment that evaluation.py sets. Knows nothing of this project.
"""

import contextlib
import json
import sys
import time

import numpy as np


def sgdml_model(arrays):
    """Return the arrays as a model of the package."""
    from sgdml.utils.desc import Desc

    n_pairs = arrays["R_desc"].shape[0]
    pairs = np.array([Desc.perm(p) for p in arrays["perms"]])
    return {
        "type": "m",
        "code_version": "1.0.3",
        "z": arrays["z"],
        "perms": arrays["perms"],
        "tril_perms_lin": (pairs + np.arange(len(pairs))[:, None] * n_pairs).flatten("F"),
        "R_desc": arrays["R_desc"],
        "R_d_desc_alpha": arrays["R_d_desc_alpha"],
        "sig": arrays["sig"],
        "c": arrays["c"],
        "std": 1.0,
    }


class Peer:
    """The predictors of one model, one thread each: NumPy with several chunk sizes, and torch."""

    def __init__(self, path):
        import torch
        from sgdml.predict import GDMLPredict

        torch.set_num_threads(1)
        arrays = dict(np.load(path))
        model = sgdml_model(arrays)
        n_train = arrays["R_desc"].shape[1]
        self.positions = arrays["positions"].reshape(len(arrays["positions"]), -1)
        numpy_predictor = GDMLPredict(model, num_workers=1, max_processes=1)
        torch_predictor = GDMLPredict(model, use_torch=True)
        self.routes = {"torch": torch_predictor.predict}
        for chunk in (n_train, n_train // 2, n_train // 4, n_train // 10):

            def predict(positions, chunk=chunk):
                numpy_predictor._set_chunk_size(chunk)
                return numpy_predictor.predict(positions)

            self.routes[f"numpy, chunks of {chunk}"] = predict

    def time(self, route, seconds, batch):
        """Return the fastest call among those that fit into the time; at least two."""
        predict, positions = self.routes[route], self.positions[:batch]
        start, fastest, n = time.perf_counter(), np.inf, 0
        while n < 2 or time.perf_counter() - start < seconds:
            begin = time.perf_counter()
            predict(positions)
            fastest = min(fastest, time.perf_counter() - begin)
            n += 1
        return fastest

    def answer(self):
        """Return the predictions of the NumPy route for all positions."""
        energies, forces = next(f for name, f in self.routes.items() if name != "torch")(self.positions)
        return {"routes": list(self.routes), "energies": energies.tolist(), "forces": forces.tolist()}


def main():
    """Serve until the input ends; whatever the package prints goes to the standard error."""
    out, peer = sys.stdout, None
    for line in sys.stdin:
        request = json.loads(line)
        with contextlib.redirect_stdout(sys.stderr):
            if "load" in request:
                peer = Peer(request["load"])
                answer = peer.answer()
            else:
                answer = {"seconds": peer.time(request["time"], request["seconds"], request["batch"])}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
