"""Progress bars for whatever takes longer than two seconds."""

from tqdm import tqdm

_LARGE = 10_000  # counts from here on are shown as 11.4k, 32.0M, 114G


def progress_bar(total, description, enabled, unit="it"):
    """Return a tqdm bar that shows itself after two seconds only, on standard error; silent when disabled."""
    return tqdm(
        total=total,
        desc=description,
        disable=not enabled,
        delay=2.0,
        leave=False,
        unit=unit,
        unit_scale=total is not None and total >= _LARGE,
        dynamic_ncols=True,
    )
