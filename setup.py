"""Hand the build over to CMakeLists.txt; everything else stands in pyproject.toml."""

from setuptools import setup

setup(cmake_source_dir=".")
