"""Materialize: deliver secrets to a service as files, all of them or none."""
