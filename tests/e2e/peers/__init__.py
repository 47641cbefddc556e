"""The programs castd meets, each driven by a small module."""
