"""What the benchmarks share: processes, ports, images, the machine's description, tables."""
