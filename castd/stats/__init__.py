"""What happened: snapshots of mounts, sources and listeners as plain values."""
