"""Measurements of respaldo beside other tools. Standard library, the tests' rig, and what is measured; no product code
but in ``listing``, which writes a repository."""
