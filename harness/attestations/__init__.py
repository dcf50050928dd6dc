"""Statements, signatures and keys: evidence bound to digests."""
