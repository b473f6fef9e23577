"""Clips: frames from files and to files, which of them are sound, how far the motion has come."""
