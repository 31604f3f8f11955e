"""Reads the vocabulary when it is imported: by the process that the tests' gateway processes are forks of."""

from __future__ import annotations

from shared.models.tokenizers import read_vocabulary

read_vocabulary()
