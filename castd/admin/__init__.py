"""Operators and players: status, control, API and pages."""
