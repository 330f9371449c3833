"""Shared and local filters."""
