"""What limits, budgets and response caches cost, and whether they hold."""
