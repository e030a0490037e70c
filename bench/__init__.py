"""Measurements, each on real servers: `make bench`."""
