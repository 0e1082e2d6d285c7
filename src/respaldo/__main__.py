"""``python -m respaldo``, and the command ``respaldo``."""

from respaldo.cli.environment import complete_environment


def main() -> None:
    """Run the command line. Its modules are imported after the environment is complete."""
    complete_environment()
    from respaldo.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
