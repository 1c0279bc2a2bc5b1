"""KVGate: an OpenAI-compatible gateway that routes on the KV cache. Envoy is its data plane; this is its brain."""

__version__ = "0.1.0"
