"""The application: command line, settings, score."""
