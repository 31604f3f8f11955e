"""The APIs that clients speak, each to and from the gateway's requests and events. Pure: no I/O, no clock."""
