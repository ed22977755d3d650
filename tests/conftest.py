"""What every test is surrounded with."""

import locale

import pytest


@pytest.fixture(autouse=True)
def _same_locale():
    """Undo what PoCL does when it compiles a kernel: it sets the locale to C, and Python then reads files as ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)
