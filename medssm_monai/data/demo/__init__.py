"""The embedded demo sets: synthetic pictures written on first use, the same on every machine."""
