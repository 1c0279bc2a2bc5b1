"""Real engines for a machine without a GPU: vLLM's CPU build, LMCache and tiny models in `.venv-engine`."""
