"""What is known of each replica. State changes only by applying events."""
