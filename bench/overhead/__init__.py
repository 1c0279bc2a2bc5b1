"""What KVGate adds to a request: the backend directly, through a plain Envoy, through KVGate."""
