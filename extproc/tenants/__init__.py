"""Who asks, how often they may, and what they may spend."""
