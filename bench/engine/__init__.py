"""Three experiments and a chat on real vLLM engines, LMCache and Redis, behind the whole gateway."""
