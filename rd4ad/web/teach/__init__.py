"""Teach on the web: uploads become photos, routes for programs, and the pieces of its page."""
