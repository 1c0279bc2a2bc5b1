"""From a prompt to the chain of block hashes under which its KV cache is known."""

from extproc.prefix.chain import Chain, Shape, fingerprint
from extproc.prefix.correction import UNCORRECTED, Content, Correction

__all__ = ["UNCORRECTED", "Chain", "Content", "Correction", "Shape", "fingerprint"]
