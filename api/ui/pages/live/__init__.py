"""The live page: who waits and runs where, and what the operator does about it."""
