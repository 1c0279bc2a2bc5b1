"""Seeded workloads, made of segments. Each file is one kind of traffic; `bench.routing.workloads` names them all."""
