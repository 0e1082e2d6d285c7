"""Use cases, one a module: each joins a server and a repository, and receives finished objects."""
