"""Tiny models with random weights, built on the spot: real architectures, real tokenizers, no download.

These run under the engine's Python, which has torch and transformers.
"""
