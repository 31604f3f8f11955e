"""What the existing nSelf command lines ask for beside /v1 (docs/compatibility.md)."""
