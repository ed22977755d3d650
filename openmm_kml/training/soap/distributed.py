"""Rows computed on Dask workers, merged there along the same tree as in one process."""

from contextlib import contextmanager
from itertools import count

from openmm_kml.errors import TrainingError
from openmm_kml.training.soap.assembly import chunk_factors, merge_factors, tree_reduce

LOCAL = "local"
TIMEOUT = 10.0  # s for a scheduler to answer


@contextmanager
def dask_client(address, workers=None):
    """Give a `distributed.Client` of a cluster, closed at the end.

    Parameters
    ----------
    address : str
        Of a scheduler, such as ``tcp://node:8786``; ``local`` starts processes on this machine for as long as it takes.
    workers : int, optional
        Of a local cluster.

    Raises
    ------
    ImportError
        If Dask is not installed.
    TrainingError
        If nobody answers at the address.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise ImportError("Dask is not installed; get it with: pip install 'openmm_kml[dask]'") from None
    if address == LOCAL:
        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(address, timeout=TIMEOUT)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"no Dask scheduler answers at {address!r} ({error}); start one, or leave the address out"
        ) from None
    with client:
        yield client


def assemble_on(client, basis, sets, options, by_kind, known, bar):
    """Return what `assembly.assemble` returns, computed by the workers of a `distributed.Client`.

    Parameters as there, but `sets` as lists of chunks, and the progress bar.
    """
    # Under a key of its own: that of an equal object, just released, may be on its way out of the workers.
    shared = client.scatter(basis, broadcast=True, hash=False)
    numbers = count()

    def submit(chunks):
        for chunk in chunks:
            # Chunks in order, and mergers before later chunks: few factors wait on the workers.
            future = client.submit(
                chunk_factors, shared, chunk, options, by_kind, known, priority=-next(numbers), pure=False
            )
            n_atoms = sum(map(len, chunk[0]))
            future.add_done_callback(lambda _, n_atoms=n_atoms: bar.update(n_atoms))
            yield future

    def merge(one, other):
        return client.submit(merge_factors, one, other, options.n_threads, priority=1, pure=False)

    reduced = [tree_reduce(submit(chunks), merge) for chunks in sets]
    return [{} if future is None else future.result() for future in reduced]
