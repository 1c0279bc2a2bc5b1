"""How fast the cache index is, and how much memory it takes."""
