"""The servers that `nself claw up` runs itself where none is configured."""
