"""A provider that does not exist, as a package of its own: all that a new one needs beside its row."""
