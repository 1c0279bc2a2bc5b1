"""What the KV store's listener costs: large values through it and past it."""
