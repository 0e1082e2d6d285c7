"""Who is told: what a message says, and the channels that carry it. Knows no repository and no PostgreSQL."""
