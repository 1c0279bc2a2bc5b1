"""The one error of the benchmarks."""

from __future__ import annotations


class BenchFailed(Exception):
    """The numbers would not mean what they say, or could not be taken. The text is for the person who ran it."""
