"""Whether a conversation about an image stays where the image is warm, and whether the replicas share the work."""
