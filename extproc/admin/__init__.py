"""The admin gRPC service: what an operator can ask of a running gateway."""
