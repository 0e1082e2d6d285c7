"""When something runs, and how cron, systemd and Kubernetes are told. Pure: starts nothing, reads no clock."""
