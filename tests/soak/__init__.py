"""Soak and chaos: castd for an hour under everything at once, and nothing of it left afterwards: python -m tests.soak.

One process of ours (`__main__`) has the encoders, the listeners and the trouble; castd is another. What encoders send
says who sent it and counts (`streams`), and every byte a healthy listener receives is compared with that (`hearing`).
"""
