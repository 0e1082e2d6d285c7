"""Meaning: what the backups of a target are to each other, and what should happen next. Pure where it can be."""
