"""How sonde is built: libbpf from its source, BPF C into objects, their digests, and the extension."""
