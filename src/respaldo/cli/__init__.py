"""The command line: one command a module; each parses, calls one operation, prints."""
