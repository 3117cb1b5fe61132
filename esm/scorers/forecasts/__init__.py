"""Fitted forecasts, as JSON."""
