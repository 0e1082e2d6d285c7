"""What is counted of past runs, and what the numbers say. Pure."""
