"""Answers that are given again: which requests are the same one, what may be kept of a reply, and where it is kept."""
