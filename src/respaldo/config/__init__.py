"""Settings: each declared once, with its type, default, help and environment variables."""
