"""The application: command line, API, the forecast of the day, the ledger, the daily round, and pages for people."""
