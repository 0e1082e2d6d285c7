"""PostgreSQL: what a server is, and how its rows leave it and return. Knows no repository."""
