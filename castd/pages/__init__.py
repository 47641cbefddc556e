"""The pages: for listeners, for operators, and the files they are made of."""
