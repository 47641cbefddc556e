"""castd behind networks that lose, delay and reorder packets, or take none at all."""
