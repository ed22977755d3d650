"""Progress bars for whatever takes longer than two seconds."""

from tqdm import tqdm


def progress_bar(total, description, enabled, unit="it"):
    """Return a tqdm bar that shows itself after two seconds only, on standard error; silent when disabled."""
    return tqdm(
        total=total,
        desc=description,
        disable=not enabled,
        delay=2.0,
        leave=False,
        unit=unit,
        dynamic_ncols=True,
    )
