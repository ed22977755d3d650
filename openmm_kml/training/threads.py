"""Threads of our own over pieces of fixed size, each piece with single-threaded linear algebra.

The pieces do not depend on the number of threads, so neither does a single digit of the result. And threads that wait
here sleep: on a machine that is busy otherwise, those of a linear algebra library spin, which made a factorization of
2000 rows 5 to 15 times slower.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def workers(n_threads):
    """Give a function like `map` that works in threads; the order of results is that of the arguments."""
    with threadpool_limits(1):
        if n_threads == 1:
            yield map
            return
        with ThreadPoolExecutor(n_threads) as pool:
            try:
                yield pool.map
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def pieces(count, size):
    """Return slices that cover range(count), each of at most `size`."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
