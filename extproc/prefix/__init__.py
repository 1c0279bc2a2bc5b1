"""From a prompt to the chain of block hashes under which its KV cache is known."""

from extproc.prefix.chain import Chain, Shape, fingerprint

__all__ = ["Chain", "Shape", "fingerprint"]
