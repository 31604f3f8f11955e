"""Endpoints of the existing nSelf command lines beside /v1 (docs/compatibility.md)."""
